"""Tables of any length, sorted: what does not fit into memory is sorted in runs, and merged."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from boatinfer.storage import mapped_files
from boatinfer.storage.base import Place

__all__ = ["Sorter", "batches", "merged"]

#: Rows of each run that are merged at a time, and rows of a table that are looked at.
_STEP, _ROWS = 16_384, 65_536


class Sorter:
    """Gathers tables and sorts their rows, an external merge sort (Knuth, TAOCP 5.4).

    Args:
        keys: the columns to sort by, ascending; they hold no nulls.
        beside: a folder on the disk that is to hold the rows, if they are many.
    """

    def __init__(self, keys: Sequence[str], beside: Place) -> None:
        self._keys, self._beside = keys, beside
        self._waiting: list[pa.Table] = []
        self._runs: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Adds rows; all tables have the same columns.

        Raises:
            OutputError: the disk is full.
        """
        self._waiting.append(table)
        if sum(one.num_rows for one in self._waiting) >= mapped_files.MAX_ROWS_IN_MEMORY:
            self._runs.append(_on_disk([_plain(self._gathered())], self._beside))
            self._waiting = [table.slice(0, 0)]
            pa.default_memory_pool().release_unused()  # lest the next takes more

    def table(self) -> pa.Table:
        """All rows, sorted; at least one table has been added.

        Raises:
            OutputError: the disk is full.
        """
        last = self._gathered()
        if not self._runs:
            return last
        return _on_disk(merged([*self._runs, _plain(last)], self._keys), self._beside)

    def _gathered(self) -> pa.Table:
        """The rows that are in memory, sorted."""
        order = [(key, "ascending") for key in self._keys]
        return pa.concat_tables(self._waiting).unify_dictionaries().sort_by(order)


def merged(
    tables: Sequence[pa.Table], keys: Sequence[str], step: int = _STEP
) -> Iterator[pa.Table]:
    """Merges tables that are sorted, a few rows of each at a time.

    Yields:
        Tables that, one after the other, are sorted by the keys.
    """
    places = [0] * len(tables)
    order = [(key, "ascending") for key in keys]
    while True:
        ends = [
            min(place + step, table.num_rows) for place, table in zip(places, tables, strict=True)
        ]
        open_ = [i for i, end in enumerate(ends) if places[i] < end]
        if not open_:
            return
        bound = min(_key(tables[i], keys, ends[i] - 1) for i in open_)
        pieces = []
        for i in open_:
            end = _after(tables[i], keys, bound, places[i], ends[i])
            pieces.append(tables[i].slice(places[i], end - places[i]))
            places[i] = end
        pieces = [piece for piece in pieces if piece.num_rows]
        yield pieces[0] if len(pieces) == 1 else pa.concat_tables(pieces).sort_by(order)


def batches(table: pa.Table) -> Iterator[pa.Table]:
    """A table's rows, some at a time; at least one table, that may be empty."""
    for start in range(0, max(1, table.num_rows), _ROWS):
        yield table.slice(start, _ROWS)


def _on_disk(tables: Iterable[pa.Table], beside: Place) -> pa.Table:
    """Puts tables of the same columns, one after the other, on disk as one."""
    rest = iter(tables)
    first = next(rest)
    with mapped_files.scratch_file(beside) as file:
        with pa.ipc.new_file(file, first.schema) as writer:
            writer.write_table(first)
            for table in rest:
                writer.write_table(table)
        held = pa.py_buffer(mapped_files.memory_map(file))
    return pa.ipc.open_file(pa.BufferReader(held)).read_all()


def _key(table: pa.Table, keys: Sequence[str], row: int) -> tuple[Any, ...]:
    return tuple(table[key][row].as_py() for key in keys)


def _after(
    table: pa.Table, keys: Sequence[str], bound: tuple[Any, ...], start: int, end: int
) -> int:
    """The first row from ``start`` to ``end`` that comes after another."""
    return bisect.bisect_right(range(end), bound, lo=start, key=lambda row: _key(table, keys, row))


def _plain(table: pa.Table) -> pa.Table:
    """The table with text in place of dictionaries, which files of several batches cannot mix."""
    fields = [
        pa.field(f.name, pa.string()) if pa.types.is_dictionary(f.type) else f for f in table.schema
    ]
    return table.cast(pa.schema(fields))
