"""Rows found by the content of their image: a copy or a renamed image needs no inference."""

from __future__ import annotations

import functools
import threading
from binascii import unhexlify
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from boatinfer.results.parts import VECTORS, Parts, Row, matrix

__all__ = ["Contents"]


class Contents:
    """Finds rows by the content of their image.

    Args:
        parts: where the rows are.
        index: the rows of `Parts.index` to find, all of classified images.
    """

    def __init__(self, parts: Parts, index: pa.Table) -> None:
        self._parts, self._index = parts, index.select(["part", "row"])
        self._reading = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_parts": self._parts, "_index": self._index, "_sorted": self._sorted}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes a copy in another process, which shares what is sorted already."""
        self.__dict__.update(state, _reading=threading.Lock())

    def find(self, content: str) -> int | None:
        """Looks an xxh3-128 (hex) up; gives a value for `Row.known`, or None."""
        if not self._index.num_rows:
            return None
        with self._reading:
            keys, places = self._sorted
        key = np.array(unhexlify(content), "S16")[()]  # numpy strips NUL bytes at the end
        position = int(np.searchsorted(keys, key))
        there = position < len(keys) and keys[position] == key
        return int(places[position]) if there else None

    @functools.cached_property
    def _sorted(self) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.int64]]:
        """All contents, sorted, and their places in the index; read when first asked for."""
        places = np.lexsort((self._index["row"].to_numpy(), self._index["part"].to_numpy()))
        tables = self._parts.read(self._index, ["content"])
        digests = [_digests(table["content"]) for table in tables]
        keys = np.concatenate(digests) if digests else np.empty(0, "S16")
        order = np.argsort(keys, kind="stable")
        return keys[order], places[order]

    def fill(self, rows: Sequence[Row], features: bool) -> None:
        """Fills in, for rows that are ``known``, what the earlier rows say.

        Args:
            rows: any rows.
            features: whether to bring the features along.

        Raises:
            OutputError: a part is damaged.
        """
        part, place = self._index["part"].to_numpy(), self._index["row"].to_numpy()
        same = [row for row in rows if row.known is not None]
        same.sort(key=lambda row: (part[row.known], place[row.known]))
        earlier = self._index.take(pa.array([row.known for row in same], pa.int64()))
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


def _digests(column: pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """Turns digests in hex into bytes, all at once."""
    text = "".join(column.to_pylist())
    return np.frombuffer(unhexlify(text), "S16")
