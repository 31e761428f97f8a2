"""What a run has to do: what it finds, compared with what is recorded."""

from __future__ import annotations

import bisect
import heapq
import time
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.night.scan import Found
from boatinfer.results.parts import OK

__all__ = ["Agenda", "chunks", "current", "first", "reusable", "table", "waves"]

#: A chunk of a listing ends at this many files, or after this many seconds: so the first
#: image is classified long before a slow disk has listed the last.
CHUNK_FILES = 4096
CHUNK_SECONDS = 0.2

_LISTING = pa.schema([("path", pa.string()), ("bytes", pa.int64()), ("mtime_ns", pa.int64())])
_NOTED = pa.schema([("path", pa.string()), ("due", pa.bool_())])


def chunks(found: Iterable[Found]) -> Iterator[list[Found]]:
    """Cuts a listing, as it comes, into chunks that are not empty."""
    chunk: list[Found] = []
    started = time.monotonic()
    for file in found:
        chunk.append(file)
        if len(chunk) >= CHUNK_FILES or time.monotonic() - started >= CHUNK_SECONDS:
            yield chunk
            chunk, started = [], time.monotonic()
    if chunk:
        yield chunk


def table(chunk: list[Found]) -> pa.Table:
    """Makes a table of found files: ``path``, ``bytes``, ``mtime_ns``."""
    kinds = enumerate(_LISTING.types)
    columns = [pa.array([file[i] for file in chunk], kind) for i, kind in kinds]
    return pa.table(columns, schema=_LISTING)


def reusable(index: pa.Table, model: str, wants_features: bool, lenient: bool) -> pa.Table:
    """The rows of `Parts.index` that say all that a run with this model wants.

    Args:
        index: the last row of every path and model.
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


class Agenda:
    """What a run has found so far, and what of it is due.

    Args:
        known: the `reusable` rows.

    Attributes:
        total: how many files are due; None until all have been found.
    """

    def __init__(self, known: pa.Table) -> None:
        self._known = known.select(_LISTING.names).sort_by("path").combine_chunks()
        self._noted = [_NOTED.empty_table()]
        self.total: int | None = None

    def batches(self, found: Iterable[pa.Table], size: int) -> Iterator[list[Found]]:
        """Notes files, chunk by chunk, and gives those that are due, at most ``size`` together.

        Args:
            found: tables of `table`.
            size: the most files of a batch.

        Yields:
            Files that are not known as they are now, each chunk's sorted by path.
        """
        total = 0
        for chunk in found:
            due = pa.array(self._due(chunk))
            self._noted.append(pa.table([chunk["path"], due], schema=_NOTED))
            files = chunk.filter(due).sort_by("path")
            total += files.num_rows
            for start in range(0, files.num_rows, size):
                yield [Found(**row) for row in files.slice(start, size).to_pylist()]
        self.total = total

    def found(self) -> pa.Table:
        """All files noted: ``path``, and whether it was ``due``."""
        return pa.concat_tables(self._noted).combine_chunks()

    def _due(self, chunk: pa.Table) -> npt.NDArray[np.bool_]:
        """Which files of a chunk are not known as they are now."""
        near = self._near(chunk["path"])
        places = pc.index_in(near["path"], value_set=chunk["path"].combine_chunks())
        there = places.is_valid()
        at = places.filter(there).to_numpy()
        same = np.full(len(at), True)
        for column in ("bytes", "mtime_ns"):
            same &= near[column].filter(there).to_numpy() == chunk[column].to_numpy()[at]
        due = np.full(chunk.num_rows, True)
        due[at[same]] = False
        return due

    def _near(self, paths: pa.ChunkedArray) -> pa.Table:
        """The known rows from the first of the paths to the last, so that few are compared."""
        ends = pc.min_max(paths).as_py()
        places = range(self._known.num_rows)
        known = self._known["path"]
        start = bisect.bisect_left(places, ends["min"], key=lambda i: known[i].as_py())
        end = bisect.bisect_right(places, ends["max"], key=lambda i: known[i].as_py())
        return self._known.slice(start, end - start)


def current(found: pa.Table, index: pa.Table, model: str) -> pa.Table:
    """The rows of `Parts.index` of the files found; a file without a row is left out.

    Args:
        found: `Agenda.found`.
        index: the last row of every path and model.
        model: SHA-256 of the model whose rows are meant, hex.

    Returns:
        A table of ``path``, ``status``, ``run``, ``part``, ``row`` and ``due``.
    """
    ours = pc.equal(index["model"], model)
    index = index.select(["path", "status", "run", "part", "row"])
    index = index if pc.all(ours).as_py() else index.filter(ours)
    places = pc.index_in(found["path"], value_set=index["path"].combine_chunks())
    rows = index.take(places.drop_null())
    return rows.append_column("due", found["due"].filter(places.is_valid()))


def waves(batches: Iterable[list[Found]], most: int) -> Iterator[pa.Table]:
    """Gathers batches to tables of `table`, each of ``most`` files or a few more, none empty."""
    wave: list[pa.Table] = []
    for batch in batches:
        wave.append(table(batch))
        if sum(one.num_rows for one in wave) >= most:
            yield pa.concat_tables(wave).combine_chunks()
            wave = []
    if wave:
        yield pa.concat_tables(wave).combine_chunks()


def first(found: Iterable[Found], count: int) -> Iterator[Found]:
    """The first files in the order of their paths."""
    yield from heapq.nsmallest(count, found)
