"""Compaction: merges small and outdated parts, and drops rows that no run needs any more."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.parts import WRITING, Parts, RowMasks, number_of, translate_read_errors
from boatinfer.results.store.rows import modernised
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors
from boatinfer.storage.locations import open_for_arrow

__all__ = ["compact", "drop", "merge", "remove"]

#: Parts are merged when there are this many that are small or mostly out of date.
MANY_PARTS = 64
#: A part with fewer rows is small; merged parts have at least this many.
FULL_PART = 65_536
#: A part of this many bytes in memory is full too.
FULL_BYTES = 64 * 2**20

#: Metadata key of a part whose rows were unused by the run that wrote it.
_UNUSED = b"boatinfer.gone"


def compact(
    row_index: RowIndex, used: RowMasks | None = None, on_written: Callable[[], None] = lambda: None
) -> None:
    """Merges small and outdated parts when there are many, one part in memory at a time.

    Unused rows, those of deleted images and of other models, are written to separate parts. The
    next merge drops those that are still unused. So an image that soon comes back, and a model
    that is soon used again, need no inference, and the folder does not grow without limit.

    A merged part gets its name before the old parts are removed. A crash in between leaves
    duplicate rows, which are equal; the later ones count.

    Args:
        row_index: index of the parts to merge.
        used: masks of the rows that the run uses; None if it did not list all images.
        on_written: called when the new parts are written, before the old ones are removed.

    Raises:
        OutputError: the disk is full, read-only, or gone, or a part is damaged.
    """
    merged_files = merge(row_index, used)
    if merged_files:
        on_written()
        remove(row_index.parts, merged_files)


def merge(row_index: RowIndex, used: RowMasks | None) -> list[Place]:
    """The first half of `compact`: writes merged parts.

    Returns:
        The old parts, which may be removed now.
    """
    parts = row_index.parts
    files = parts.own()
    if len(files) < MANY_PARTS:
        return []
    footers = {file: translate_read_errors(file, partial(_footer, file)) for file in files}
    unused_parts = {number_of(file) for file in files if _UNUSED in (footers[file].metadata or {})}
    used_rows: dict[int, Any] = {}
    unused_rows: dict[int, Any] = {}
    for number, last in row_index.row_masks().items():
        was_unused = number in unused_parts
        mask = np.full(len(last), not was_unused) if used is None else used[number]
        used_rows[number] = last & mask
        unused_rows[number] = last & ~mask & (used is None or not was_unused)
    due = {
        file: modernised(_empty(footer)).schema
        for file, footer in footers.items()
        if (footer.num_rows < FULL_PART and file.stat().st_size < FULL_BYTES / 2)
        or used_rows[number_of(file)].sum() < footer.num_rows / 2
    }
    if len(due) < MANY_PARTS:
        return []
    for schema in _distinct_schemas(due.values()):
        numbers = [
            number_of(file) for file, file_schema in due.items() if file_schema.equals(schema)
        ]
        _merge(parts, {n: used_rows[n] for n in numbers}, schema.remove_metadata())
        _merge(
            parts, {n: unused_rows[n] for n in numbers}, schema.with_metadata({_UNUSED: b"true"})
        )
    return list(due)


def drop(row_index: RowIndex, unwanted: RowMasks, on_written: Callable[[], None]) -> list[Place]:
    """Writes the parts that hold unwanted rows again, without these and without outdated rows.

    Args:
        row_index: index of the parts, as they are now.
        unwanted: masks of the rows that go; of a path and model either all or none.
        on_written: called when the new parts are written, before the old ones are removed.

    Returns:
        The parts that are removed.

    Raises:
        OutputError: the disk is full, read-only, or gone, or a part is damaged.
    """
    parts = row_index.parts
    files = {number_of(file): file for file in parts.own()}
    last = row_index.row_masks()
    wanted = {n: last[n] & ~mask for n, mask in unwanted.items() if mask.any() and n in files}
    footers = {n: translate_read_errors(files[n], partial(_footer, files[n])) for n in wanted}
    schemas = {n: modernised(_empty(footer)).schema for n, footer in footers.items()}
    for schema in _distinct_schemas(schemas.values()):
        for unused in (False, True):
            numbers = [
                n
                for n in wanted
                if schemas[n].equals(schema) and (_UNUSED in (footers[n].metadata or {})) == unused
            ]
            metadata = {_UNUSED: b"true"} if unused else None
            _merge(parts, {n: wanted[n] for n in numbers}, schema.with_metadata(metadata))
    worn = [files[n] for n in wanted]
    if worn:
        on_written()
        remove(parts, worn)
    return worn


def remove(parts: Parts, files: Iterable[Place]) -> None:
    """Removes parts whose rows have been merged into others.

    Raises:
        OutputError: the folder is not writable.
    """
    parts.check()
    with translate_write_errors(parts.folder):
        for file in files:
            file.unlink()


def _footer(file: Place) -> pq.FileMetaData:
    return pq.read_metadata(open_for_arrow(file))


def _empty(footer: pq.FileMetaData) -> pa.Table:
    return footer.schema.to_arrow_schema().empty_table()


def _distinct_schemas(schemas: Iterable[pa.Schema]) -> list[pa.Schema]:
    """The distinct schemas, ignoring metadata."""
    distinct: list[pa.Schema] = []
    for schema in schemas:
        if not any(schema.equals(other) for other in distinct):
            distinct.append(schema)
    return distinct


def _merge(parts: Parts, masks: RowMasks, schema: pa.Schema) -> None:
    """Writes rows, `modernised` to a schema, as parts of about `FULL_PART` rows or `FULL_BYTES`."""
    tables = map(modernised, parts.read_masked(masks, schema.names))
    for first in tables:
        with parts.writer() as sink, pq.ParquetWriter(sink, schema, **WRITING) as writer:
            rows = size = 0
            for table in itertools.chain([first], tables):
                writer.write_table(table)
                rows, size = rows + table.num_rows, size + table.nbytes
                if rows >= FULL_PART or size >= FULL_BYTES:
                    break
