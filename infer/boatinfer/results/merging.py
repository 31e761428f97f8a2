"""Sorted tables merged into one, on disk: a few rows of each are in memory at a time."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from boatinfer.storage.files import replacing

__all__ = ["merged", "on_disk"]

#: Rows of each table that are merged at a time.
_STEP = 16_384


def merged(tables: Sequence[pa.Table], step: int = _STEP) -> Iterator[pa.Table]:
    """Merges tables that are sorted by their column ``path``, a few rows of each at a time.

    Yields:
        Tables that, one after the other, are sorted by ``path``.
    """
    places = [0] * len(tables)
    paths = [table["path"] for table in tables]
    while True:
        ends = [min(place + step, len(path)) for place, path in zip(places, paths, strict=True)]
        open_ = [i for i, end in enumerate(ends) if places[i] < end]
        if not open_:
            return
        bound = min(paths[i][ends[i] - 1].as_py() for i in open_)
        pieces = []
        for i in open_:
            end = _after(paths[i], bound, places[i], ends[i])
            pieces.append(tables[i].slice(places[i], end - places[i]))
            places[i] = end
        yield pa.concat_tables(pieces).sort_by("path")


def on_disk(
    file: Path, schema: pa.Schema, tables: Iterable[pa.Table], stack: contextlib.ExitStack
) -> pa.Table:
    """Writes tables one after the other, and gives them as one that stays on disk.

    Args:
        file: where to; it may go when the stack has closed.
        schema: of each table, without dictionaries, which files of several batches cannot mix.
        tables: what to write.
        stack: keeps the file open.

    Raises:
        OutputError: it could not be written.
    """
    with replacing(file) as temporary, pa.ipc.new_file(temporary, schema) as writer:
        for table in tables:
            writer.write_table(table.combine_chunks())
    source = stack.enter_context(pa.memory_map(str(file)))
    return pa.ipc.open_file(source).read_all()


def _after(paths: pa.ChunkedArray, path: str, start: int, end: int) -> int:
    """The first place from ``start`` to ``end`` whose path is after another."""
    return bisect.bisect_right(range(end), path, lo=start, key=lambda row: paths[row].as_py())
