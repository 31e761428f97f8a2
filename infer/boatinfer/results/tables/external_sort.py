"""External merge sort of tables: sorted runs on disk are merged."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from boatinfer.storage import mapped_files
from boatinfer.storage.base import Place

__all__ = ["Sorter", "batches", "decoded", "merged"]

#: Rows of each run that are merged at a time, at most and at least, and rows of a batch.
_STEP, _LEAST_STEP, _ROWS = 16_384, 64, 65_536


class Sorter:
    """Collects tables and sorts their rows by an external merge sort (Knuth, TAOCP 5.4).

    Args:
        keys: the columns to sort by, ascending; they hold no nulls.
        scratch_folder: a folder on the disk for temporary files, if there are many rows.
        max_bytes: bytes of rows to hold in memory, beside the bound on their number.
    """

    def __init__(
        self, keys: Sequence[str], scratch_folder: Place, max_bytes: float = math.inf
    ) -> None:
        self._keys, self._scratch_folder = keys, scratch_folder
        self._max_bytes = max_bytes
        self._waiting: list[pa.Table] = []
        self._rows = self._bytes = 0
        self._runs: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Adds rows; all tables have the same columns.

        Raises:
            OutputError: the disk is full.
        """
        self._waiting.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= mapped_files.MAX_ROWS_IN_MEMORY or self._bytes >= self._max_bytes:
            self._runs.append(_on_disk([decoded(self._gathered())], self._scratch_folder))
            self._waiting, self._rows, self._bytes = [table.slice(0, 0)], 0, 0
            pa.default_memory_pool().release_unused()  # else the next run takes more memory

    def table(self) -> pa.Table:
        """All rows, sorted; at least one table must have been added.

        Raises:
            OutputError: the disk is full.
        """
        last = self._gathered()
        if not self._runs:
            return last
        return _on_disk(merged([*self._runs, decoded(last)], self._keys), self._scratch_folder)

    def tables(self) -> Iterator[pa.Table]:
        """As `table`, in batches, which are not kept: they are there once."""
        last, runs = self._gathered(), self._runs
        self._waiting, self._runs = [last.slice(0, 0)], []
        if not runs:
            yield from batches(last)
            return
        runs.append(decoded(last))
        row_bytes = 1 + max(table.nbytes // max(1, table.num_rows) for table in runs)
        step = min(_STEP, max(_LEAST_STEP, self._max_bytes / row_bytes / len(runs)))
        yield from merged(runs, self._keys, int(step))

    def _gathered(self) -> pa.Table:
        """The rows in memory, sorted."""
        order = [(key, "ascending") for key in self._keys]
        return pa.concat_tables(self._waiting).unify_dictionaries().sort_by(order)


def merged(
    tables: Sequence[pa.Table], keys: Sequence[str], step: int = _STEP
) -> Iterator[pa.Table]:
    """Merges sorted tables, a few rows of each at a time.

    Yields:
        Tables that are together sorted by the keys.
    """
    starts = [0] * len(tables)
    order = [(key, "ascending") for key in keys]
    while True:
        ends = [
            min(start + step, table.num_rows) for start, table in zip(starts, tables, strict=True)
        ]
        unfinished = [i for i, end in enumerate(ends) if starts[i] < end]
        if not unfinished:
            return
        bound = min(_key(tables[i], keys, ends[i] - 1) for i in unfinished)
        pieces = []
        for i in unfinished:
            end = _first_row_after(tables[i], keys, bound, starts[i], ends[i])
            pieces.append(tables[i].slice(starts[i], end - starts[i]))
            starts[i] = end
        pieces = [piece for piece in pieces if piece.num_rows]
        yield pieces[0] if len(pieces) == 1 else pa.concat_tables(pieces).sort_by(order)


def batches(table: pa.Table) -> Iterator[pa.Table]:
    """Splits a table into batches of rows; yields at least one, which may be empty."""
    for start in range(0, max(1, table.num_rows), _ROWS):
        yield table.slice(start, _ROWS)


def _on_disk(tables: Iterable[pa.Table], scratch_folder: Place) -> pa.Table:
    """Concatenates tables of the same columns on disk."""
    remaining = iter(tables)
    first = next(remaining)
    with mapped_files.scratch_file(scratch_folder) as file:
        with pa.ipc.new_file(file, first.schema) as writer:
            writer.write_table(first)
            for table in remaining:
                writer.write_table(table)
        buffer = pa.py_buffer(mapped_files.memory_map(file))
    return pa.ipc.open_file(pa.BufferReader(buffer)).read_all()


def _key(table: pa.Table, keys: Sequence[str], row: int) -> tuple[Any, ...]:
    return tuple(table[key][row].as_py() for key in keys)


def _first_row_after(
    table: pa.Table, keys: Sequence[str], bound: tuple[Any, ...], start: int, end: int
) -> int:
    """The first row between ``start`` and ``end`` whose key is greater than ``bound``."""
    return bisect.bisect_right(range(end), bound, lo=start, key=lambda row: _key(table, keys, row))


def decoded(table: pa.Table) -> pa.Table:
    """Decodes dictionary columns, since a file of several batches cannot mix dictionaries."""
    fields = [
        pa.field(f.name, pa.string()) if pa.types.is_dictionary(f.type) else f for f in table.schema
    ]
    return table.cast(pa.schema(fields))
