"""Rows found by the content of their image: a copy or a renamed image needs no inference."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from boatinfer.results.store.keyed_arrays import KEY, KeyedArrays, KeyIndex, key, keys
from boatinfer.results.store.parts import Marks, Parts
from boatinfer.results.store.rows import VECTORS, Row, matrix

__all__ = ["ContentIndex"]

_CONTENT = np.dtype([*KEY.descr, ("place", np.int64)])


class ContentIndex:
    """Finds rows by the content of their image.

    Args:
        parts: where the rows are.
        duplicate_of: the rows to find, all of classified images.
    """

    def __init__(self, parts: Parts, known: Marks) -> None:
        self._parts, self._known = parts, known
        self._reading = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_parts": self._parts, "_lookup": self._lookup}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes a copy in another process, which shares what is sorted already."""
        self.__dict__.update(state, _reading=threading.Lock())

    def find(self, content: str) -> int | None:
        """Looks an xxh3-128 (hex) up; gives a value for `Row.duplicate_of`, or None."""
        with self._reading:
            lookup = self._lookup
        if not len(lookup):
            return None
        there, found = lookup.find(key(content))
        return int(found["place"][0]) if there[0] else None

    @functools.cached_property
    def _lookup(self) -> KeyIndex:
        """All contents and the places of their rows; read when first asked for."""
        records = KeyedArrays(_CONTENT, self._parts.folder)
        parts = self._parts.read_marked(self._known, ["content"])
        marked = ((number, mark) for number, mark in self._known.items() if mark.any())
        for (number, mark), table in zip(marked, parts, strict=True):
            place = number << 32 | np.flatnonzero(mark)
            records.add(keys(table["content"]), place=place)
        return KeyIndex(records.slices(records.partitions_needed), ["place"], self._parts.folder)

    def fill(self, rows: Sequence[Row], features: bool) -> None:
        """Fills in, for rows that are ``known``, what the earlier rows say.

        Args:
            rows: any rows.
            features: whether to bring the features along.

        Raises:
            OutputError: a part is damaged.
        """
        same = [row for row in rows if row.duplicate_of is not None]
        known = np.array([row.duplicate_of for row in same], np.int64)
        order = np.argsort(known, kind="stable")
        same, known = [same[i] for i in order], known[order]
        earlier = pa.table({"part": known >> 32, "row": known & 0xFFFFFFFF})
        wanted = [name for name in VECTORS if features or name != "features"]
        waiting = iter(same)
        for table in self._parts.read(earlier, ["error", "run", *wanted]):
            there = [name for name in wanted if name in table.column_names]
            vectors = {name: matrix(table[name]) for name in there}
            errors, runs = table["error"].to_pylist(), table["run"].to_pylist()
            for i in range(table.num_rows):
                row = next(waiting)
                row.error, row.run = errors[i], runs[i]
                for name, vector in vectors.items():
                    setattr(row, name, vector[i])
