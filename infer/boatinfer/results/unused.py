"""Rows that no run needs any more: of images that are gone, and of models that are not in use.

``OUT/.unused.parquet`` says since when: `find_unused` notes what it finds unused for the first
time, and forgets what is used again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from boatinfer.results.folder import Results
from boatinfer.results.manifest import read_paths
from boatinfer.results.store.keyed_arrays import Array, keys
from boatinfer.results.store.parts import RowMasks, number_of
from boatinfer.results.summary import Summary, run_time
from boatinfer.storage.files import atomic_write
from boatinfer.storage.locations import open_for_arrow

__all__ = ["Limits", "Unused", "UnusedRows", "find_unused"]

_SCHEMA = pa.schema([("key", pa.uint64()), ("since", pa.int64())])
_MODELS = b"boatinfer.models"


class Limits(NamedTuple):
    """For how long unused rows stay; None for ever.

    Attributes:
        gone: those of images that are gone.
        old_models: those of models other than that of the last complete run.
    """

    gone: timedelta | None = None
    old_models: timedelta | None = None


class Unused(NamedTuple):
    """Since when something is unused, in seconds since 1970.

    Attributes:
        models: by the SHA-256 of the model file.
        keys: the lower halves of the keys of paths that are gone, uint64 [N], sorted.
        since: of each, int64 [N].
    """

    models: dict[str, int]
    keys: Array
    since: Array

    @classmethod
    def read(cls, results: Results) -> Unused:
        """What was noted; nothing where it cannot be read, and then the time begins anew."""
        try:
            table = pq.read_table(open_for_arrow(results.out / ".unused.parquet"))
            models = json.loads(table.schema.metadata[_MODELS])
            table = table.cast(_SCHEMA)
            return cls(dict(models), table["key"].to_numpy(), table["since"].to_numpy())
        except (OSError, TypeError, KeyError, ValueError, pa.ArrowException):
            return cls({}, np.zeros(0, np.uint64), np.zeros(0, np.int64))

    def write(self, results: Results) -> None:
        """Writes it.

        Raises:
            OutputError: it could not be written.
        """
        schema = _SCHEMA.with_metadata({_MODELS: json.dumps(self.models)})
        table = pa.table([pa.array(self.keys), pa.array(self.since)], schema=schema)
        with atomic_write(results.out / ".unused.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")


class UnusedRows(NamedTuple):
    """Rows that may go.

    Attributes:
        noted: since when what is unused is so.
        masks: the rows that have been unused for long enough.
        gone: how many of these are of images that are gone.
        old_models: how many are of models that are not in use.
    """

    noted: Unused
    masks: RowMasks
    gone: int
    old_models: int


def find_unused(results: Results, complete: Summary, limits: Limits, now: datetime) -> UnusedRows:
    """Finds rows that no run needs any more, and those that may go.

    A run that did not look at the whole folder says nothing of what is gone.

    Args:
        results: the results folder; its last run is complete.
        complete: the last complete run.
        limits: for how long unused rows stay.
        now: the time.

    Raises:
        OutputError: a part or the manifest is damaged.
    """
    seconds, scan = int(now.timestamp()), _Scan(results, complete)
    # A clock that is behind must not make what is unused look old.
    noted = _noted(scan, Unused.read(results), max(seconds, _latest(results)))
    old = [m for m, since in noted.models.items() if _is_over(since, limits.old_models, seconds)]
    over = [_is_over(since, limits.gone, seconds) for since in noted.since.tolist()]
    keys_over = noted.keys[np.array(over, np.bool_)][: None if scan.whole else 0]
    masks: dict[int, npt.NDArray[np.bool_]] = {}
    gone = of_old_models = 0
    for rows in scan.parts() if old or len(keys_over) else ():
        is_old = rows.are_of(old)
        is_gone = rows.gone & np.isin(rows.keys, keys_over)
        gone, of_old_models = gone + int(is_gone.sum()), of_old_models + int(is_old.sum())
        masks[rows.part] = is_gone | is_old
    return UnusedRows(noted, masks, gone, of_old_models)


def _latest(results: Results) -> int:
    """When the latest run started, in seconds since 1970; 0 if no run says."""
    times = [0.0]
    for file in (results.out / "runs").glob("*.json"):
        with contextlib.suppress(ValueError):
            times.append(datetime.fromisoformat(run_time(file.stem)).timestamp())
    return int(max(times))


def _noted(scan: _Scan, before: Unused, now: int) -> Unused:
    """Since when what is unused now is so."""
    models: dict[str, int] = {}
    found = [np.zeros(0, np.uint64)]
    for rows in scan.parts():
        for model in set(rows.models) - {scan.model}:
            models[model] = min(before.models.get(model, now), now)
        found.append(rows.keys[rows.gone])
    if not scan.whole:  # what was not found may be there
        return Unused(models, before.keys, before.since)
    gone = np.unique(np.concatenate(found))
    since = np.full(len(gone), now, np.int64)
    known, index = np.intersect1d(gone, before.keys, return_indices=True)[1:]
    since[known] = np.minimum(before.since[index], now)
    return Unused(models, gone, since)


def _is_over(since: int, limit: timedelta | None, now: int) -> bool:
    return limit is not None and now - since >= limit.total_seconds()


class _Rows(NamedTuple):
    """The rows of a part.

    Attributes:
        part: its number.
        models: those that occur.
        codes: which of these is that of each row, [N].
        keys: the lower half of the key of its path, uint64 [N].
        gone: whether it is of the current model, and its image is gone, bool [N].
    """

    part: int
    models: list[str]
    codes: Array
    keys: Array
    gone: npt.NDArray[np.bool_]

    def are_of(self, models: Collection[str]) -> npt.NDArray[np.bool_]:
        """Which rows are of some models, bool [N]."""
        return np.isin(self.codes, [i for i, name in enumerate(self.models) if name in models])


class _Scan:
    """Reads the rows of all parts, and compares them with the images of the last complete run."""

    def __init__(self, results: Results, complete: Summary) -> None:
        self.model, self.whole = complete.model, not complete.restrictions
        self._parts = results.parts
        keys_, self._unlisted = [np.zeros(0, np.uint64)], list[str]()
        for batch in read_paths(results.manifest):
            keys_.append(_keys(batch))
            folders = batch["path"].filter(pc.ends_with(batch["path"], "/"))
            self._unlisted += folders.to_pylist()
        self._there = np.sort(np.concatenate(keys_))

    def parts(self) -> Iterator[_Rows]:
        """The rows of each part; what is in a folder that could not be listed is not gone."""
        for file in self._parts.own():
            rows = self._parts.read_light(file)
            models = rows["model"].unify_dictionaries().combine_chunks()
            codes, keys_ = models.indices.to_numpy(), _keys(rows)
            gone = ~self._is_there(keys_)
            found = _Rows(number_of(file), models.dictionary.to_pylist(), codes, keys_, gone)
            gone &= found.are_of([self.model])
            for folder in self._unlisted:
                inside = pc.starts_with(rows["path"], folder)
                gone &= ~inside.to_numpy()
            yield found

    def _is_there(self, keys_: Array) -> npt.NDArray[np.bool_]:
        index = np.searchsorted(self._there, keys_)
        found = index < len(self._there)
        found[found] = self._there[index[found]] == keys_[found]
        return found


def _keys(table: pa.Table) -> Array:
    return np.asarray(keys(table["path"])["low"])
