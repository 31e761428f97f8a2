"""Index of rows by the content of their image: copies and renamed images need no inference."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from boatinfer.results.store.keyed_arrays import KEY, KeyedArrays, KeyIndex, keys, text_keys
from boatinfer.results.store.parts import Parts, RowMasks
from boatinfer.results.store.rows import VECTORS, Row, has_vectors, matrix, modernised

__all__ = ["ContentIndex"]

_CONTENT = np.dtype([*KEY.descr, ("place", np.int64)])


class ContentIndex:
    """Finds rows by the content of their image.

    Args:
        parts: the parts that hold the rows.
        masks: the rows to index, all of classified images.
    """

    def __init__(self, parts: Parts, masks: RowMasks) -> None:
        self._parts, self._masks = parts, masks
        self._reading = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_parts": self._parts, "_lookup": self._lookup}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes a copy in another process, which shares the sorted lookup table."""
        self.__dict__.update(state, _reading=threading.Lock())

    def find(self, content: str) -> int | None:
        """Looks up an xxh3-128 (hex).

        Returns:
            A value for `Row.duplicate_of`; None if no row has this content.
        """
        with self._reading:
            lookup = self._lookup
        if not len(lookup):
            return None
        present, fields = lookup.find(text_keys([content]))
        return int(fields["place"][0]) if present[0] else None

    @functools.cached_property
    def _lookup(self) -> KeyIndex:
        """All contents and the positions of their rows; read on first use."""
        records = KeyedArrays(_CONTENT, self._parts.folder)
        parts = self._parts.read_masked(self._masks, ["content"])
        masks = ((number, mask) for number, mask in self._masks.items() if mask.any())
        for (number, mask), table in zip(masks, parts, strict=True):
            place = number << 32 | np.flatnonzero(mask)
            records.add(keys(table["content"]), place=place)
        return KeyIndex(records.slices(records.partitions_needed), ["place"], self._parts.folder)

    def fill(self, rows: Sequence[Row], features: bool) -> None:
        """Copies the results of earlier rows into rows with a `Row.duplicate_of`.

        Args:
            rows: any rows.
            features: whether to copy the features too.

        Raises:
            OutputError: a part is damaged.
        """
        duplicates = [row for row in rows if row.duplicate_of is not None]
        positions = np.array([row.duplicate_of for row in duplicates], np.int64)
        order = np.argsort(positions, kind="stable")
        duplicates, positions = [duplicates[i] for i in order], positions[order]
        earlier = pa.table({"part": positions >> 32, "row": positions & 0xFFFFFFFF})
        columns = [name for name in VECTORS if features or name != "features"]
        remaining = iter(duplicates)
        for table in self._parts.read(earlier, ["error", "run", "novelty", *columns]):
            present = [name for name in columns if has_vectors(table, name)]
            vectors = {name: matrix(table[name]) for name in present}
            errors, runs = table["error"].to_pylist(), table["run"].to_pylist()
            novelties = modernised(table)["novelty"].to_pylist()
            for i in range(table.num_rows):
                row = next(remaining)
                row.error, row.run, row.novelty = errors[i], runs[i], novelties[i]
                for name, vector in vectors.items():
                    setattr(row, name, vector[i])
