"""Records with a key, as many as there are: joined and looked up without much memory.

A key is a digest of 128 bits, xxh3-128: keys are as good as what they are of, and spread evenly.
So a range of keys is a slice of the records whose size is known beforehand.
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
    "key",
    "keys",
    "take_rows",
]

Array = npt.NDArray[Any]

#: What every record begins with: two halves of a digest.
KEY = np.dtype([("high", np.uint64), ("low", np.uint64)])

#: Ranges of keys whose bounds are known in every run of records; slices consist of them.
_RANGES = 4096
_BOUNDS = np.arange(1, _RANGES, dtype=np.uint64) << np.uint64(64 - 12)


def keys(texts: pa.Array | pa.ChunkedArray) -> Array:
    """The keys [N] of N texts, such as paths."""
    return _digests(texts.cast(pa.binary()).to_numpy(zero_copy_only=False))


def key(text: str) -> Array:
    """The key [1] of one text."""
    return _digests([text.encode()])


def duplicate_mask(records: Array) -> npt.NDArray[np.bool_]:
    """Which of sorted records have the key of the one before."""
    same = np.zeros(len(records), np.bool_)
    same[1:] = (records["high"][1:] == records["high"][:-1]) & (
        records["low"][1:] == records["low"][:-1]
    )
    return same


def join_keys(some: Array, others: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The places in both of keys that two arrays of records share; neither repeats one."""
    both = np.empty(len(some) + len(others), KEY)
    for name in KEY.names or ():
        both[name] = np.concatenate([some[name], others[name]])
    order = _by_key(both)
    second = np.flatnonzero(duplicate_mask(both[order]))
    return order[second - 1], order[second] - len(some)


#: Slices for each run: what is done with one takes several times its memory.
_PER_RUN = 4


def take_rows(records: Array, places: npt.NDArray[np.intp]) -> Array:
    """The records at some places, [N]; numpy alone would copy them field by field."""
    whole = records.view(f"V{records.itemsize}")
    return whole.take(places).view(records.dtype)


class _Run(NamedTuple):
    """Sorted records, and where each of the `_RANGES` begins, and the last one ends."""

    records: Array
    starts: npt.NDArray[np.intp]


def _digests(raw: Iterable[bytes]) -> Array:
    return np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, raw)), KEY)


class KeyedArrays:
    """Records that are gathered, and given back slice by slice, sorted by their key.

    Args:
        kind: of a record; it begins with the fields of `KEY`.
        beside: a folder on the disk that is to hold them, if they are many.

    Attributes:
        count: how many there are.
    """

    def __init__(self, kind: np.dtype[Any], beside: Place) -> None:
        self._kind, self._beside = kind, beside
        self._runs: list[_Run] = []
        self._waiting: list[Array] = [np.empty(0, kind)]
        self._wait = self.count = 0

    def add(self, key: Array, **fields: Any) -> None:
        """Adds records.

        Args:
            key: their keys [N].
            fields: arrays [N] of all other fields.

        Raises:
            OutputError: the disk is full.
        """
        records = np.empty(len(key), self._kind)
        for name in self._kind.names or ():
            records[name] = fields[name] if name in fields else key[name]
        self._waiting.append(records)
        self._wait += len(records)
        self.count += len(records)
        if self._wait >= mapped_files.MAX_ROWS_IN_MEMORY:
            self._runs.append(_run(_on_disk(self._gathered(), self._beside)))
            self._waiting, self._wait = [np.empty(0, self._kind)], 0

    @property
    def partitions_needed(self) -> int:
        """How many slices make each small enough."""
        return 1 + _PER_RUN * self.count // mapped_files.MAX_ROWS_IN_MEMORY

    def slices(self, count: int) -> Iterator[Array]:
        """Gives all records, in slices of about equal size.

        Args:
            count: how many slices there are to be. Another `KeyedArrays` in as many slices has the
                same keys in each.

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
        """The records that are in memory, sorted."""
        if len(self._waiting) > 1:
            self._waiting = [_sorted(self._waiting)]
        return self._waiting[0]


class KeyIndex:
    """Records to be found by their key, on disk.

    Args:
        slices: records that are sorted by key, one after the other.
        fields: those of interest, beside the key.
        beside: a folder on the disk that is to hold them.

    Raises:
        OutputError: the disk is full.
    """

    def __init__(self, slices: Iterable[Array], fields: Sequence[str], beside: Place) -> None:
        self._fields = fields
        names = [*(KEY.names or ()), *fields]
        kinds: dict[str, np.dtype[Any]] = {}
        with contextlib.ExitStack() as stack:
            files = {name: stack.enter_context(mapped_files.scratch_file(beside)) for name in names}
            for records in slices:  # one at least
                for name, file in files.items():
                    kinds[name] = records[name].dtype
                    file.write(np.ascontiguousarray(records[name]).data)
            self._columns = {
                name: np.frombuffer(mapped_files.memory_map(files[name]), kind)
                for name, kind in kinds.items()
            }

    def __len__(self) -> int:
        return len(self._columns["high"])

    def find(self, key: Array) -> tuple[npt.NDArray[np.bool_], dict[str, Array]]:
        """Looks keys up.

        Args:
            key: the keys [N].

        Returns:
            Which there are, bool [N], and the fields of these.
        """
        high, low = self._columns["high"], self._columns["low"]
        if not len(self):
            return np.zeros(len(key), np.bool_), {
                name: self._columns[name] for name in self._fields
            }
        # Of two records that agree in this half alone, one in 10^19, the second is not found.
        places = np.minimum(high.searchsorted(key["high"]), len(high) - 1)
        there = (high[places] == key["high"]) & (low[places] == key["low"])
        places = places[there]
        return there, {name: self._columns[name][places] for name in self._fields}


def _by_key(records: Array) -> npt.NDArray[np.intp]:
    """The places of records in the order of their keys; equal ones stay in their order."""
    high = np.ascontiguousarray(records["high"])
    order = np.argsort(high, kind="stable")
    high, low = high[order], records["low"][order]
    if ((high[1:] == high[:-1]) & (low[1:] != low[:-1])).any():  # next to never
        order = np.lexsort((records["low"], records["high"]))
    return order


def _sorted(pieces: Sequence[Array]) -> Array:
    """Records in the order of their keys; those of equal keys in that of the pieces."""
    plain = [piece.view(f"V{piece.itemsize}") for piece in pieces]  # as in `take_rows`
    records = np.concatenate(plain).view(pieces[0].dtype)
    return take_rows(records, _by_key(records))


def _run(records: Array) -> _Run:
    high = np.ascontiguousarray(records["high"])
    return _Run(records, np.array([0, *np.searchsorted(high, _BOUNDS), len(high)]))


def _on_disk(records: Array, beside: Place) -> Array:
    with mapped_files.scratch_file(beside) as file:
        file.write(records.data)
        return np.frombuffer(mapped_files.memory_map(file), records.dtype)
