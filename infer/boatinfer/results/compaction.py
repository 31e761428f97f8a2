"""Keeps the parts of a results folder few, and forgets what has long been of no use."""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from boatinfer.results.parts import WRITING, Parts, number_of, reading
from boatinfer.storage.files import writing
from boatinfer.storage.place import Place, opened

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
    parts: Parts,
    index: pa.Table,
    found: pa.Table | None = None,
    merged: Callable[[], None] = lambda: None,
) -> None:
    """Merges small and outdated parts when there are many, one part in memory at a time.

    Rows that the run has no use for, of images that have gone and of other models, are put
    into parts of their own. The next merge drops those that are still of no use: so an image
    that soon comes back, and a model that is soon taken again, need no inference, and a folder
    whose images or models come and go is not remembered for ever.

    A merged part gets its name before the old ones go, so a crash in between leaves rows
    twice, of which the later ones count; they are equal.

    Args:
        parts: what to merge.
        index: ``part`` and ``row`` of all rows of `Parts.index`.
        found: the same of the rows that the run has a use for; None if it did not look for all
            images.
        merged: called when the new parts are there, before the old ones go.

    Raises:
        OutputError: the disk is full, read-only, or gone, or a part is damaged.
    """
    worn = merge(parts, index, found)
    if worn:
        merged()
        remove(parts, worn)


def merge(parts: Parts, index: pa.Table, found: pa.Table | None) -> list[Place]:
    """The first half of `compact`: writes new parts, and gives the old ones, which may go now."""
    files = parts.own()
    if len(files) < MANY_PARTS:
        return []
    footers = {file: reading(file, functools.partial(_footer, file)) for file in files}
    gone_before = [number_of(file) for file in files if _GONE in (footers[file].metadata or {})]
    numbers = index["part"].to_numpy()
    was_gone = np.isin(numbers, gone_before)
    here = ~was_gone if found is None else np.isin(_places(index), _places(found))
    gone = ~here if found is None else ~here & ~was_gone
    alive = collections.Counter(numbers[here].tolist())
    worn = {
        file: footer.schema.to_arrow_schema()
        for file, footer in footers.items()
        if (footer.num_rows < FULL_PART and file.stat().st_size < FULL_BYTES / 2)
        or alive[number_of(file)] < footer.num_rows / 2
    }
    if len(worn) < MANY_PARTS:
        return []
    for schema in _different(worn.values()):
        alike = [number_of(file) for file, its in worn.items() if its.equals(schema)]
        theirs = np.isin(numbers, alike)
        _merge(parts, index.filter(pa.array(theirs & here)), schema.remove_metadata())
        _merge(parts, index.filter(pa.array(theirs & gone)), schema.with_metadata({_GONE: b"true"}))
    return list(worn)


def remove(parts: Parts, files: Iterable[Place]) -> None:
    """Removes parts whose rows are in others.

    Raises:
        OutputError: the folder may not be written to.
    """
    with writing(parts.folder):
        for file in files:
            file.unlink()


def _footer(file: Place) -> pq.FileMetaData:
    return pq.read_metadata(opened(file))


def _places(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Part and row as one number."""
    part, row = rows["part"].to_numpy(), rows["row"].to_numpy()
    return np.asarray(part.astype(np.int64) << 32 | row)


def _different(schemas: Iterable[pa.Schema]) -> list[pa.Schema]:
    """The schemas, each once, whatever their metadata."""
    different: list[pa.Schema] = []
    for schema in schemas:
        if not any(schema.equals(other) for other in different):
            different.append(schema)
    return different


def _merge(parts: Parts, index: pa.Table, schema: pa.Schema) -> None:
    """Writes rows of one schema as parts of about full size."""
    tables = parts.read(index, schema.names)
    for first in tables:
        with parts.writer() as sink, pq.ParquetWriter(sink, schema, **WRITING) as writer:
            rows = size = 0
            for table in itertools.chain([first], tables):
                writer.write_table(table)
                rows, size = rows + table.num_rows, size + table.nbytes
                if rows >= FULL_PART or size >= FULL_BYTES:
                    break
