"""What the parts say of every image, without its path and its heavy columns: 41 bytes a row.

The paths of ten million images take more memory than a night needs, so the plan and the proof know
an image by the xxh3-128 of its path, and work on one range of these digests after the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from boatinfer.results.store.keyed_arrays import KEY, Array, KeyedArrays, duplicate_mask, keys
from boatinfer.results.store.parts import Marks, Parts, number_of
from boatinfer.results.store.rows import OK
from boatinfer.storage.locations import map_concurrently

__all__ = ["RowIndex"]

_ROW = np.dtype(
    [
        *KEY.descr,
        ("place", np.uint32),
        ("bytes", np.int64),
        ("mtime_ns", np.int64),
        ("status", np.uint8),
        *[(name, np.bool_) for name in ("ours", "now", "damaged", "warned", "has_features")],
    ]
)


class RowIndex:
    """The rows of a results folder, on disk where they are many.

    A record has a key, that of the path; ``place``, the row's number among those of all parts;
    ``bytes`` and ``mtime_ns``; ``status``, a place in `statuses`; whether the model is ``ours``
    and the run is ``now``; ``damaged``, ``warned`` and ``has_features`` as in `Parts.index`.

    Args:
        parts: where the rows are.
        model: SHA-256 of the model file whose rows are ours; the keys of other models' rows
            differ from those of the paths.
        run: the run that is now.

    Attributes:
        statuses: the statuses that occur.
    """

    def __init__(self, parts: Parts, model: str | None = None, run: str | None = None) -> None:
        self.parts, self._model, self._run = parts, model, run
        self._clear()

    def _clear(self) -> None:
        self._records = KeyedArrays(_ROW, self.parts.folder)
        self._starts: dict[int, int] = {}
        self._places = 0
        self.statuses = [OK]

    @property
    def last_part(self) -> int:
        """The number of the last part that has been read; 0 if there is none."""
        return max(self._starts, default=0)

    @property
    def partitions_needed(self) -> int:
        """How many slices make each small enough."""
        return self._records.partitions_needed

    def read(self) -> None:
        """Reads the parts that have come since the last time; no part ever changes.

        Raises:
            OutputError: a part is damaged, or the disk is full.
        """
        files = {number_of(part): part for part in self.parts.files()}
        if not set(self._starts) <= set(files):
            self._clear()
        last = self.last_part
        late = [number for number in files if number > last]
        light = map_concurrently(self.parts.light, [files[n] for n in late], self.parts.folder)
        for number, rows in zip(late, light, strict=True):
            self._starts[number] = self._places
            self._add(rows)
            self._places += 1 + (pc.max(rows["row"]).as_py() or 0)

    def after(self, part: int) -> int:
        """The ``place`` of the first row of later parts."""
        later = (start for number, start in self._starts.items() if number > part)
        return min(later, default=self._places)

    def last(self, count: int | None = None) -> Iterator[Array]:
        """The last row of every path and model.

        Args:
            count: of slices; None means as many as make each small enough.

        Yields:
            Records sorted by key.
        """
        for rows in self._records.slices(count or self.partitions_needed):
            again = duplicate_mask(rows)
            yield rows[~np.append(again[1:], False)] if again.any() else rows

    def blank(self) -> npt.NDArray[np.bool_]:
        """Room for a mark for every ``place``: bool [places]."""
        return np.zeros(self._places, np.bool_)

    def marked(self, index: pa.Table) -> Marks:
        """Rows by their parts, of a table of ``part`` and ``row``."""
        marked = self.blank()
        parts, which = np.unique(index["part"].to_numpy(), return_inverse=True)
        starts = np.array([self._starts[part] for part in parts.tolist()], np.int64)
        marked[starts[which] + index["row"].to_numpy()] = True
        return self.marks(marked)

    def marks(self, marked: npt.NDArray[np.bool_] | None = None) -> Marks:
        """Rows by their parts.

        Args:
            marked: bool [places]; None means the last row of every path and model.
        """
        if marked is None:
            marked = self.blank()
            for rows in self.last():
                marked[rows["place"]] = True
        ends = [*self._starts.values(), len(marked)][1:]
        starts = self._starts.items()
        return {number: marked[s:end] for (number, s), end in zip(starts, ends, strict=True)}

    def _add(self, light: pa.Table) -> None:
        codes, statuses = _coded(light["status"])
        self.statuses += [status for status in statuses if status not in self.statuses]
        status = np.array([*map(self.statuses.index, statuses), 0], np.uint8)[codes]
        codes, models = _coded(light["model"])
        ours = np.array([*(model == self._model for model in models), False])[codes]
        digests = [xxhash.xxh3_64_intdigest(model.encode()) for model in models]
        seeds = np.array([*digests, 0], np.uint64)[codes]
        key = keys(light["path"]).copy()
        key["high"] ^= np.where(ours, np.uint64(0), seeds)
        codes, runs = _coded(light["run"])
        now = np.array([*(run == self._run for run in runs), False])[codes]
        plain = ("bytes", "mtime_ns", "damaged", "warned", "has_features")
        columns = {name: light[name].to_numpy() for name in plain}
        place = self._places + light["row"].to_numpy()
        self._records.add(key, place=place, status=status, ours=ours, now=now, **columns)


def _coded(column: pa.ChunkedArray) -> tuple[Array, list[str]]:
    """The codes of a column of dictionaries, and what they mean."""
    whole = column.unify_dictionaries().combine_chunks()
    return whole.indices.to_numpy(), whole.dictionary.to_pylist()
