"""Index of the rows of all parts, without paths and wide columns: 41 bytes a row.

The paths of ten million images take more memory than the rest of a run, so the plan and the proof
identify an image by the xxh3-128 of its path, and process one range of these digests at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from boatinfer.results.store.keyed_arrays import KEY, Array, KeyedArrays, duplicate_mask, keys
from boatinfer.results.store.parts import Parts, RowMasks, number_of
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
        *[
            (name, np.bool_)
            for name in ("same_model", "same_run", "damaged", "warned", "has_features")
        ],
    ]
)


class RowIndex:
    """The rows of a results folder; kept on disk if there are many.

    A record has the key of the path; ``place``, the row's number among those of all parts;
    ``bytes`` and ``mtime_ns``; ``status``, an index into `statuses`; ``same_model`` and
    ``same_run``, whether the row is of `model` and of `run`; ``damaged``, ``warned`` and
    ``has_features`` as in `Parts.index`.

    Args:
        parts: the parts to index.
        model: SHA-256 of this run's model file; the keys of other models' rows differ from those
            of the paths.
        run: this run.

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
        """How many slices to split the rows into, so that each fits into memory."""
        return self._records.partitions_needed

    def read(self) -> None:
        """Reads the parts that were added since the last call; parts are immutable.

        Raises:
            OutputError: a part is damaged, or the disk is full.
        """
        files = {number_of(part): part for part in self.parts.files()}
        if not set(self._starts) <= set(files):
            self._clear()
        last = self.last_part
        new_numbers = [number for number in files if number > last]
        tables = map_concurrently(
            self.parts.read_light, [files[n] for n in new_numbers], self.parts.folder
        )
        for number, rows in zip(new_numbers, tables, strict=True):
            self._starts[number] = self._places
            self._add(rows)
            self._places += 1 + (pc.max(rows["row"]).as_py() or 0)

    def first_place_after(self, part: int) -> int:
        """The ``place`` of the first row of the parts after one."""
        later_starts = (start for number, start in self._starts.items() if number > part)
        return min(later_starts, default=self._places)

    def last_rows(self, count: int | None = None) -> Iterator[Array]:
        """The last row of every path and model.

        Args:
            count: number of slices; None means `partitions_needed`.

        Yields:
            Records sorted by key.
        """
        for rows in self._records.slices(count or self.partitions_needed):
            repeated = duplicate_mask(rows)
            yield rows[~np.append(repeated[1:], False)] if repeated.any() else rows

    def empty_mask(self) -> npt.NDArray[np.bool_]:
        """A mask of all rows, False everywhere: bool [places]."""
        return np.zeros(self._places, np.bool_)

    def masks_of(self, index: pa.Table) -> RowMasks:
        """Masks of the rows in a table of ``part`` and ``row``."""
        mask = self.empty_mask()
        parts, part_positions = np.unique(index["part"].to_numpy(), return_inverse=True)
        starts = np.array([self._starts[part] for part in parts.tolist()], np.int64)
        mask[starts[part_positions] + index["row"].to_numpy()] = True
        return self.row_masks(mask)

    def row_masks(self, mask: npt.NDArray[np.bool_] | None = None) -> RowMasks:
        """Splits a mask of all rows by part.

        Args:
            mask: bool [places]; None means the last row of every path and model.
        """
        if mask is None:
            mask = self.empty_mask()
            for rows in self.last_rows():
                mask[rows["place"]] = True
        ends = [*self._starts.values(), len(mask)][1:]
        starts = self._starts.items()
        return {number: mask[s:end] for (number, s), end in zip(starts, ends, strict=True)}

    def _add(self, table: pa.Table) -> None:
        codes, statuses = _coded(table["status"])
        self.statuses += [status for status in statuses if status not in self.statuses]
        status = np.array([*map(self.statuses.index, statuses), 0], np.uint8)[codes]
        codes, models = _coded(table["model"])
        same_model = np.array([*(model == self._model for model in models), False])[codes]
        digests = [xxhash.xxh3_64_intdigest(model.encode()) for model in models]
        seeds = np.array([*digests, 0], np.uint64)[codes]
        key = keys(table["path"]).copy()
        key["high"] ^= np.where(same_model, np.uint64(0), seeds)
        codes, runs = _coded(table["run"])
        same_run = np.array([*(run == self._run for run in runs), False])[codes]
        names = ("bytes", "mtime_ns", "damaged", "warned", "has_features")
        columns = {name: table[name].to_numpy() for name in names}
        place = self._places + table["row"].to_numpy()
        self._records.add(
            key,
            place=place,
            status=status,
            same_model=same_model,
            same_run=same_run,
            **columns,
        )


def _coded(column: pa.ChunkedArray) -> tuple[Array, list[str]]:
    """The codes of a dictionary column, and its values."""
    unified = column.unify_dictionaries().combine_chunks()
    return unified.indices.to_numpy(), unified.dictionary.to_pylist()
