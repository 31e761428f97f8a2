"""Keeps the parts of a results folder few, and forgets what has long been of no use."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.parts import WRITING, Marks, Parts, number_of, translate_read_errors
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors
from boatinfer.storage.locations import open_for_arrow

__all__ = ["compact", "merge", "remove"]

#: Parts are merged when there are this many that are small or mostly out of date.
MANY_PARTS = 64
#: A part with fewer rows is small; merging makes parts of at least as many.
FULL_PART = 65_536
#: A part of more bytes in memory is full too.
FULL_BYTES = 64 * 2**20

#: Metadata of a part whose rows were of no use to the run that wrote it.
_GONE = b"boatinfer.gone"


def compact(
    row_index: RowIndex, found: Marks | None = None, merged: Callable[[], None] = lambda: None
) -> None:
    """Merges small and outdated parts when there are many, one part in memory at a time.

    Rows that the run has no use for, of images that have gone and of other models, are put
    into parts of their own. The next merge drops those that are still of no use: so an image
    that soon comes back, and a model that is soon taken again, need no inference, and a folder
    whose images or models come and go is not remembered for ever.

    A merged part gets its name before the old ones go, so a crash in between leaves rows
    twice, of which the later ones count; they are equal.

    Args:
        row_index: what the parts say that are to be merged.
        found: the rows that the run has a use for; None if it did not look for all images.
        merged: called when the new parts are there, before the old ones go.

    Raises:
        OutputError: the disk is full, read-only, or gone, or a part is damaged.
    """
    worn = merge(row_index, found)
    if worn:
        merged()
        remove(row_index.parts, worn)


def merge(row_index: RowIndex, found: Marks | None) -> list[Place]:
    """The first half of `compact`: writes new parts, and gives the old ones, which may go now."""
    parts = row_index.parts
    files = parts.own()
    if len(files) < MANY_PARTS:
        return []
    footers = {
        file: translate_read_errors(file, functools.partial(_footer, file)) for file in files
    }
    gone_before = {number_of(file) for file in files if _GONE in (footers[file].metadata or {})}
    here: dict[int, Any] = {}
    gone: dict[int, Any] = {}
    for number, last in row_index.marks().items():
        was_gone = number in gone_before
        useful = np.full(len(last), not was_gone) if found is None else found[number]
        here[number] = last & useful
        gone[number] = last & ~useful & (found is None or not was_gone)
    worn = {
        file: footer.schema.to_arrow_schema()
        for file, footer in footers.items()
        if (footer.num_rows < FULL_PART and file.stat().st_size < FULL_BYTES / 2)
        or here[number_of(file)].sum() < footer.num_rows / 2
    }
    if len(worn) < MANY_PARTS:
        return []
    for schema in _different(worn.values()):
        alike = [number_of(file) for file, its in worn.items() if its.equals(schema)]
        _merge(parts, {n: here[n] for n in alike}, schema.remove_metadata())
        _merge(parts, {n: gone[n] for n in alike}, schema.with_metadata({_GONE: b"true"}))
    return list(worn)


def remove(parts: Parts, files: Iterable[Place]) -> None:
    """Removes parts whose rows are in others.

    Raises:
        OutputError: the folder may not be written to.
    """
    parts.check()
    with translate_write_errors(parts.folder):
        for file in files:
            file.unlink()


def _footer(file: Place) -> pq.FileMetaData:
    return pq.read_metadata(open_for_arrow(file))


def _different(schemas: Iterable[pa.Schema]) -> list[pa.Schema]:
    """The schemas, each once, whatever their metadata."""
    different: list[pa.Schema] = []
    for schema in schemas:
        if not any(schema.equals(other) for other in different):
            different.append(schema)
    return different


def _merge(parts: Parts, marks: Marks, schema: pa.Schema) -> None:
    """Writes rows of one schema as parts of about full size."""
    tables = parts.read_marked(marks, schema.names)
    for first in tables:
        with parts.writer() as sink, pq.ParquetWriter(sink, schema, **WRITING) as writer:
            rows = size = 0
            for table in itertools.chain([first], tables):
                writer.write_table(table)
                rows, size = rows + table.num_rows, size + table.nbytes
                if rows >= FULL_PART or size >= FULL_BYTES:
                    break
