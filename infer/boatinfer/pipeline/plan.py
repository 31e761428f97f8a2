"""What a run has to do: what it finds, compared with what is recorded."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from boatinfer.errors import Failure
from boatinfer.results.proof import Files
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.keyed_arrays import (
    KEY,
    Array,
    KeyedArrays,
    KeyIndex,
    duplicate_mask,
    join_keys,
    take_rows,
    text_keys,
)
from boatinfer.results.store.parts import RowMasks
from boatinfer.storage.base import Place
from boatinfer.storage.listing import ListedFile

__all__ = [
    "DueFiles",
    "batches",
    "changed",
    "chunks",
    "current",
    "dangerous",
    "first",
    "reusable",
    "sufficient",
    "waves",
]

#: A chunk of a listing ends at this many files, or after this many seconds: so the first
#: image is classified long before a slow disk has listed the last.
CHUNK_FILES = 4096
CHUNK_SECONDS = 0.2

_NOTED = np.dtype([*KEY.descr, ("due", np.bool_)])


def chunks(found: Iterable[ListedFile]) -> Iterator[list[ListedFile]]:
    """Cuts a listing, as it comes, into chunks that are not empty."""
    chunk: list[ListedFile] = []
    started = time.monotonic()
    for file in found:
        chunk.append(file)
        if len(chunk) >= CHUNK_FILES or time.monotonic() - started >= CHUNK_SECONDS:
            yield chunk
            chunk, started = [], time.monotonic()
    if chunk:
        yield chunk


def reusable(
    row_index: RowIndex, wants_features: bool, lenient: bool, fresh: bool
) -> tuple[KeyIndex, RowMasks]:
    """The rows that say all that a run wants.

    Args:
        row_index: the last row of every path and model.
        wants_features: whether a row without features does not do.
        lenient: whether a row of a damaged image does.
        fresh: whether no row does.

    Returns:
        ``bytes`` and ``mtime_ns`` of the files by their paths, and the rows.
    """
    marked = row_index.empty_mask()

    def slices() -> Iterator[Array]:
        for rows in row_index.last_rows():
            enough = rows["same_model"] & sufficient(rows, wants_features, lenient, fresh)
            usable = rows if enough.all() else rows[enough]
            marked[usable["place"]] = True
            yield usable

    known = KeyIndex(slices(), ["bytes", "mtime_ns"], row_index.parts.folder)
    return known, row_index.row_masks(marked)


def sufficient(rows: Array, wants_features: bool, lenient: bool, fresh: bool) -> Array:
    """Which rows of a `RowIndex` say all that a run wants, if the file is unchanged: bool [N].

    The arguments are as for `reusable`.
    """
    enough = (rows["status"] == 0) & (not fresh)
    if not lenient:
        enough &= ~rows["damaged"]
    if wants_features:
        enough &= rows["has_features"]
    return np.asarray(enough)


def changed(
    chunk: list[ListedFile], there: npt.NDArray[np.bool_], known: Mapping[str, Array]
) -> Array:
    """Which files of a chunk that are known have another size or time now.

    Args:
        chunk: N files.
        there: which of them are known, bool [N].
        known: ``bytes`` and ``mtime_ns`` of these, [K] each.

    Returns:
        bool [K].
    """
    mask = np.zeros(int(there.sum()), np.bool_)
    for index, column in enumerate(ListedFile._fields[1:], 1):
        now = np.fromiter((file[index] for file in chunk), np.int64, len(chunk))
        mask |= known[column] != now[there]
    return mask


def dangerous(row_index: RowIndex) -> frozenset[str]:
    """The paths of images that have ended a worker process, with any model."""
    ends = {Failure.CRASHED.value, Failure.TIMED_OUT.value}
    codes = [code for code, status in enumerate(row_index.statuses) if status in ends]
    if not codes:
        return frozenset()
    marked = row_index.empty_mask()
    for rows in row_index.last_rows():
        marked[rows["place"][np.isin(rows["status"], codes)]] = True
    tables = row_index.parts.read_masked(row_index.row_masks(marked), ["path"])
    return frozenset(path for table in tables for path in table["path"].to_pylist())


class DueFiles:
    """What a run has found so far, and what of it is due.

    Args:
        known: ``bytes`` and ``mtime_ns`` of the files that need no work, by their paths.
        beside: a folder on the disk that is to hold what is found, if it is much.
        dangerous: paths of images that have ended a worker process, to be tried alone.

    Attributes:
        found: for each of the files found whether it was ``due``, by its path.
        total: how many files are due; None until all have been found.
    """

    def __init__(
        self, known: KeyIndex, beside: Place, dangerous: frozenset[str] = frozenset()
    ) -> None:
        self._known, self.dangerous = known, dangerous
        self.found = KeyedArrays(_NOTED, beside)
        self.total: int | None = None

    def due(self, found: Iterable[list[ListedFile]]) -> Iterator[list[ListedFile]]:
        """Notes files, chunk by chunk, and gives those that are not known as they are now.

        Args:
            found: the chunks.

        Yields:
            Of each chunk the files that are due, if any, sorted by path.
        """
        total = 0
        for chunk in found:
            key = text_keys(file.path for file in chunk)
            due = self._due(key, chunk)
            self.found.add(key, due=due)
            files = sorted(itertools.compress(chunk, due))
            total += len(files)
            if files:
                yield files
        self.total = total

    def _due(self, key: Array, chunk: list[ListedFile]) -> Array:
        """Which files of a chunk are not known as they are now: bool [N]."""
        there, known = self._known.find(key)
        due = ~there
        due[there] = changed(chunk, there, known)
        return due


def current(found: KeyedArrays, row_index: RowIndex) -> Iterator[Files]:
    """The files found and their rows, slice by slice; a file that was listed twice is one.

    Args:
        found: `DueFiles.found`.
        row_index: what the parts say.
    """
    count = max(found.partitions_needed, row_index.partitions_needed)
    for files, rows in zip(found.slices(count), row_index.last_rows(count), strict=True):
        firsts = np.flatnonzero(~duplicate_mask(files))
        due = np.logical_or.reduceat(files["due"], firsts) if len(firsts) else files["due"]
        these, their = join_keys(take_rows(files, firsts), rows)
        yield Files(len(firsts), take_rows(rows, their), due[these])


def batches(due: Iterable[list[ListedFile]], size: int) -> Iterator[list[ListedFile]]:
    """Cuts `DueFiles.due` into lists of at most ``size`` files, none empty."""
    for files in due:
        for start in range(0, len(files), size):
            yield files[start : start + size]


def waves(due: Iterable[list[ListedFile]], most: int) -> Iterator[list[ListedFile]]:
    """Gathers `DueFiles.due` to lists of ``most`` files or a few more, none empty."""
    wave: list[ListedFile] = []
    for files in due:
        wave += files
        if len(wave) >= most:
            yield wave
            wave = []
    if wave:
        yield wave


def first(found: Iterable[ListedFile], count: int) -> Iterator[ListedFile]:
    """The first files in the order of their paths."""
    yield from heapq.nsmallest(count, found)
