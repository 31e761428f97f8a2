"""Arrays of records with a key, of any length: joined and looked up in little memory.

A key is a 128-bit digest, xxh3-128, so keys are unique in practice and evenly distributed. A range
of keys is therefore a slice of the records whose size is known beforehand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from boatinfer.storage import mapped_files
from boatinfer.storage.base import Place

__all__ = [
    "KEY",
    "KeyIndex",
    "KeyedArrays",
    "duplicate_mask",
    "join_keys",
    "keys",
    "take_rows",
    "text_keys",
]

Array = npt.NDArray[Any]

#: The first fields of every record: the two halves of a digest.
KEY = np.dtype([("high", np.uint64), ("low", np.uint64)])

#: Number of key ranges whose bounds are known in every sorted run; slices consist of whole ranges.
_RANGES = 4096
_BOUNDS = np.arange(1, _RANGES, dtype=np.uint64) << np.uint64(64 - 12)


def keys(texts: pa.Array | pa.ChunkedArray) -> Array:
    """The keys [N] of N texts, such as paths."""
    return _digests(texts.cast(pa.binary()).to_numpy(zero_copy_only=False))


def text_keys(texts: Iterable[str]) -> Array:
    """The keys [N] of N texts that are not in a table."""
    return _digests(map(str.encode, texts))


def duplicate_mask(records: Array) -> npt.NDArray[np.bool_]:
    """Which of the sorted records have the same key as the one before, bool [N]."""
    mask = np.zeros(len(records), np.bool_)
    mask[1:] = (records["high"][1:] == records["high"][:-1]) & (
        records["low"][1:] == records["low"][:-1]
    )
    return mask


def join_keys(first: Array, second: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Inner join of two arrays of records, in each of which all keys differ.

    Returns:
        The indices of the shared keys in the first array and in the second.
    """
    merged = np.empty(len(first) + len(second), KEY)
    for name in KEY.names or ():
        merged[name] = np.concatenate([first[name], second[name]])
    order = _by_key(merged)
    repeats = np.flatnonzero(duplicate_mask(merged[order]))
    return order[repeats - 1], order[repeats] - len(first)


#: Slices for each sorted run: processing a slice takes several times its memory.
_PER_RUN = 4


def take_rows(records: Array, indices: npt.NDArray[np.intp]) -> Array:
    """The records at some indices, [N]; numpy's own take copies them field by field."""
    raw = records.view(f"V{records.itemsize}")
    return raw.take(indices).view(records.dtype)


class _Run(NamedTuple):
    """Sorted records, the start of each of the `_RANGES`, and the end of the last one."""

    records: Array
    starts: npt.NDArray[np.intp]


def _digests(raw: Iterable[bytes]) -> Array:
    return np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, raw)), KEY)


class KeyedArrays:
    """Collects records, and returns them in slices, sorted by key.

    Args:
        dtype: dtype of a record; it begins with the fields of `KEY`.
        scratch_folder: a folder on the disk for temporary files, if there are many records.

    Attributes:
        count: number of records.
    """

    def __init__(self, dtype: np.dtype[Any], scratch_folder: Place) -> None:
        self._dtype, self._scratch_folder = dtype, scratch_folder
        self._runs: list[_Run] = []
        self._waiting: list[Array] = [np.empty(0, dtype)]
        self._waiting_count = self.count = 0

    def add(self, key: Array, **fields: Any) -> None:
        """Adds records.

        Args:
            key: their keys [N].
            fields: arrays [N] of all other fields.

        Raises:
            OutputError: the disk is full.
        """
        records = np.empty(len(key), self._dtype)
        for name in self._dtype.names or ():
            records[name] = fields[name] if name in fields else key[name]
        self._waiting.append(records)
        self._waiting_count += len(records)
        self.count += len(records)
        if self._waiting_count >= mapped_files.MAX_ROWS_IN_MEMORY:
            self._runs.append(_run(_on_disk(self._gathered(), self._scratch_folder)))
            self._waiting, self._waiting_count = [np.empty(0, self._dtype)], 0

    @property
    def partitions_needed(self) -> int:
        """How many slices to split the records into, so that each fits into memory."""
        return 1 + _PER_RUN * self.count // mapped_files.MAX_ROWS_IN_MEMORY

    def slices(self, count: int) -> Iterator[Array]:
        """Returns all records, in slices of about equal size.

        Args:
            count: number of slices. Any `KeyedArrays` split into as many slices has the same
                range of keys in each.

        Yields:
            Records sorted by key; those of equal keys in the order in which they were added.
        """
        runs = [*self._runs, _run(self._gathered())]
        for number in range(count):
            start, end = (_RANGES * edge // count for edge in (number, number + 1))
            pieces = [run.records[run.starts[start] : run.starts[end]] for run in runs]
            pieces = [piece for piece in pieces if len(piece)] or pieces[:1]
            yield pieces[0] if len(pieces) == 1 else _sorted(pieces)

    def _gathered(self) -> Array:
        """The records in memory, sorted."""
        if len(self._waiting) > 1:
            self._waiting = [_sorted(self._waiting)]
        return self._waiting[0]


class KeyIndex:
    """Looks up records by key, on disk.

    Args:
        slices: slices of records, together sorted by key.
        fields: the fields to keep, besides the key.
        scratch_folder: a folder on the disk for temporary files.

    Raises:
        OutputError: the disk is full.
    """

    def __init__(
        self, slices: Iterable[Array], fields: Sequence[str], scratch_folder: Place
    ) -> None:
        self._fields = fields
        names = [*(KEY.names or ()), *fields]
        dtypes: dict[str, np.dtype[Any]] = {}
        with contextlib.ExitStack() as stack:
            files = {
                name: stack.enter_context(mapped_files.scratch_file(scratch_folder))
                for name in names
            }
            for records in slices:  # one at least
                for name, file in files.items():
                    dtypes[name] = records[name].dtype
                    file.write(np.ascontiguousarray(records[name]).data)
            self._columns = {
                name: np.frombuffer(mapped_files.memory_map(files[name]), dtype)
                for name, dtype in dtypes.items()
            }

    def __len__(self) -> int:
        return len(self._columns["high"])

    def find(self, key: Array) -> tuple[npt.NDArray[np.bool_], dict[str, Array]]:
        """Looks keys up.

        Args:
            key: the keys [N].

        Returns:
            Which keys are present, bool [N], and the fields of these.
        """
        high, low = self._columns["high"], self._columns["low"]
        if not len(self):
            return np.zeros(len(key), np.bool_), {
                name: self._columns[name] for name in self._fields
            }
        # Of two records that share only this half, one in 10^19, the second is not found.
        indices = np.minimum(high.searchsorted(key["high"]), len(high) - 1)
        present = (high[indices] == key["high"]) & (low[indices] == key["low"])
        indices = indices[present]
        return present, {name: self._columns[name][indices] for name in self._fields}


def _by_key(records: Array) -> npt.NDArray[np.intp]:
    """The indices that sort records by key; a stable sort."""
    high = np.ascontiguousarray(records["high"])
    order = np.argsort(high, kind="stable")
    high, low = high[order], records["low"][order]
    if ((high[1:] == high[:-1]) & (low[1:] != low[:-1])).any():  # very rare
        order = np.lexsort((records["low"], records["high"]))
    return order


def _sorted(pieces: Sequence[Array]) -> Array:
    """Records sorted by key; those of equal keys in the order of the pieces."""
    raw = [piece.view(f"V{piece.itemsize}") for piece in pieces]  # as in `take_rows`
    records = np.concatenate(raw).view(pieces[0].dtype)
    return take_rows(records, _by_key(records))


def _run(records: Array) -> _Run:
    high = np.ascontiguousarray(records["high"])
    return _Run(records, np.array([0, *np.searchsorted(high, _BOUNDS), len(high)]))


def _on_disk(records: Array, scratch_folder: Place) -> Array:
    with mapped_files.scratch_file(scratch_folder) as file:
        file.write(records.data)
        return np.frombuffer(mapped_files.memory_map(file), records.dtype)
