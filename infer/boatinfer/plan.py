"""What a run has to do: the listing compared with what is recorded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.interrupt import Stop
from boatinfer.parts import OK
from boatinfer.scan import Found

__all__ = ["batches", "current", "listing", "reusable", "todo"]

_CHUNK = 65_536
_LISTING = pa.schema([("path", pa.string()), ("bytes", pa.int64()), ("mtime_ns", pa.int64())])


def listing(found: Iterable[Found], stop: Stop) -> pa.Table:
    """Makes a table of a listing: ``path``, ``bytes``, ``mtime_ns``.

    Raises:
        RunInterruptedError: a signal came meanwhile.
    """
    found = iter(found)
    chunks = []
    while chunk := list(itertools.islice(found, _CHUNK)):
        stop.check()
        columns = zip(zip(*chunk, strict=True), _LISTING.types, strict=True)
        arrays = [pa.array(values, kind) for values, kind in columns]
        chunks.append(pa.record_batch(arrays, schema=_LISTING))
    return pa.Table.from_batches(chunks, _LISTING).combine_chunks()


def reusable(index: pa.Table, model: str, wants_features: bool, lenient: bool) -> pa.Table:
    """The rows of `Parts.index` that say all that a run with this model wants.

    Args:
        index: the last row of every path.
        model: SHA-256 of the model file, hex.
        wants_features: whether a row without features does not do.
        lenient: whether a row of a damaged image does.
    """
    usable = pc.and_(pc.equal(index["status"], OK), pc.equal(index["model"], model))
    if not lenient:
        usable = pc.and_(usable, pc.invert(index["damaged"]))
    if wants_features:
        usable = pc.and_(usable, index["has_features"])
    return index.filter(usable)


def todo(found: pa.Table, known: pa.Table) -> pa.Table:
    """The files of a listing that are not known as they are now, sorted by path.

    Args:
        found: a `listing`.
        known: the `reusable` rows.
    """
    places = pc.index_in(found["path"], value_set=known["path"].combine_chunks())
    there = places.is_valid().combine_chunks().to_numpy(zero_copy_only=False)
    rows = places.combine_chunks().drop_null().to_numpy()
    same = np.full(len(rows), True)
    for column in ("bytes", "mtime_ns"):
        same &= found[column].to_numpy()[there] == known[column].to_numpy()[rows]
    unchanged = there.copy()
    unchanged[there] = same
    return found.filter(pa.array(~unchanged)).sort_by("path")


def batches(files: pa.Table, size: int) -> Iterator[list[Found]]:
    """Cuts a listing into lists of at most ``size`` files."""
    for start in range(0, files.num_rows, size):
        rows = files.slice(start, size).to_pylist()
        yield [Found(**row) for row in rows]


def current(found: pa.Table, index: pa.Table) -> pa.Table:
    """The rows of `Parts.index` of the files found; a file without a row is left out."""
    places = pc.index_in(found["path"], value_set=index["path"].combine_chunks())
    return index.take(places.drop_null())
