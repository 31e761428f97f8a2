"""Index of failed images: since which run each has failed."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.keyed_arrays import (
    KEY,
    Array,
    KeyedArrays,
    KeyIndex,
    duplicate_mask,
    keys,
    text_keys,
)
from boatinfer.results.store.parts import Parts, RowMasks
from boatinfer.results.store.rows import OK, Row

__all__ = ["FailureIndex"]

_FAILED = np.dtype([*KEY.descr, ("bytes", np.int64), ("mtime_ns", np.int64), ("since", np.uint32)])


class FailureIndex:
    """Finds the rows of images that failed in earlier runs, with any model.

    Args:
        parts: the parts that hold the rows.
        masks: the rows to index, all of failures.
    """

    def __init__(self, parts: Parts, masks: RowMasks) -> None:
        self._parts, self._masks = parts, masks
        self._runs: list[str] = []
        self._reading = threading.Lock()

    @classmethod
    def of(cls, row_index: RowIndex) -> FailureIndex:
        """Indexes the failures among the last rows of every path and model."""
        mask = row_index.empty_mask()
        for rows in row_index.last_rows():
            mask[rows["place"][rows["status"] != 0]] = True
        return cls(row_index.parts, row_index.row_masks(mask))

    def __getstate__(self) -> dict[str, Any]:
        with self._reading:
            return {"_parts": self._parts, "_lookup": self._lookup, "_runs": self._runs}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes a copy in another process, which shares the sorted lookup table."""
        self.__dict__.update(state, _reading=threading.Lock())

    def fill(self, rows: Sequence[Row]) -> None:
        """Sets `Row.since` of images that failed before, and have not changed since.

        Args:
            rows: any rows.

        Raises:
            OutputError: a part is damaged.
        """
        failed = [row for row in rows if row.status != OK]
        if not failed:
            return
        with self._reading:
            lookup = self._lookup
        if not len(lookup):
            return
        present, fields = lookup.find(text_keys(row.path for row in failed))
        for number, index in enumerate(np.flatnonzero(present)):
            row = failed[index]
            size, mtime_ns = fields["bytes"][number], fields["mtime_ns"][number]
            if (row.bytes, row.mtime_ns) == (size, mtime_ns):
                row.since = self._runs[fields["since"][number]]

    @functools.cached_property
    def _lookup(self) -> KeyIndex:
        """The failures by path; read on first use."""
        records = KeyedArrays(_FAILED, self._parts.folder)
        codes: dict[str, int] = {}
        columns = ["path", "bytes", "mtime_ns", "run", "since"]
        for table in self._parts.read_masked(self._masks, columns):
            since = table["run"].to_pylist()  # of rows that are older than the column
            if "since" in table.column_names:
                pairs = zip(table["since"].to_pylist(), since, strict=True)
                since = [first or run for first, run in pairs]
            records.add(
                keys(table["path"]),
                bytes=table["bytes"].to_numpy(),
                mtime_ns=table["mtime_ns"].to_numpy(),
                since=np.array([codes.setdefault(run, len(codes)) for run in since], np.uint32),
            )
        self._runs = list(codes)
        slices = map(_last_of_each, records.slices(records.partitions_needed))
        return KeyIndex(slices, ["bytes", "mtime_ns", "since"], self._parts.folder)


def _last_of_each(records: Array) -> Array:
    """The last record of each key."""
    return records[~np.append(duplicate_mask(records)[1:], False)] if len(records) else records
