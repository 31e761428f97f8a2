"""What a run would do, without doing it."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from boatinfer.errors import OutputError
from boatinfer.models.built_in import BUILT_IN, model_place
from boatinfer.models.model import read_model
from boatinfer.models.seal import sealed_digest
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.plan import changed, chunks, sufficient
from boatinfer.pipeline.selection import Selection
from boatinfer.pipeline.service import with_model_in_service
from boatinfer.results.folder import Results
from boatinfer.results.gone import gone_rows
from boatinfer.results.manifest import read_paths, read_summary_of
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.keyed_arrays import Array, KeyIndex, text_keys
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary
from boatinfer.signals import Stop
from boatinfer.storage.connections import s3_endpoint
from boatinfer.storage.files import temporary_folder
from boatinfer.storage.listing import ListedFile
from boatinfer.storage.locations import resolve
from boatinfer.text import to_text

__all__ = ["Forecast", "forecast"]

#: Earlier runs that an estimate is made from, at most.
_RUNS = 7


class Forecast(msgspec.Struct, kw_only=True, frozen=True):
    """What a run would do: ``found = new + changed + retried + again + reused``.

    Attributes:
        folder: the scanned folder, absolute.
        out: the results folder.
        found: images that are there.
        new: images that this model has not classified yet; copies are among them.
        changed: images of another size or time than when they were classified.
        retried: unchanged images that failed before.
        again: unchanged images that are classified again, for their features or with ``--fresh``.
        reused: images that need no work.
        gone: images of the last complete run that are gone; None if that run did not look at the
            whole folder, or this one would not.
        seconds: the time that earlier runs would take for it; None if there are none to tell.
        runs: how many earlier runs the time is estimated from.
        holder: the process that holds the results folder now, for which the run would not start.
    """

    folder: str
    out: str
    found: int = 0
    new: int = 0
    changed: int = 0
    retried: int = 0
    again: int = 0
    reused: int = 0
    gone: int | None = None
    seconds: float | None = None
    runs: int = 0
    holder: str | None = None


def forecast(options: RunOptions) -> Forecast:
    """Compares a folder with its results, and writes nothing.

    The model file is read, to know whose rows count, and not opened.

    Args:
        options: as for `boatinfer.pipeline.run.run`.

    Raises:
        BoatinferError: what would keep the run from starting.
    """
    options = with_model_in_service(options)
    shard = Shard.parse(options.shard) if options.shard else None
    folder, results = resolve(options.folder), Results(options.results_folder, shard)
    with s3_endpoint(options.endpoint):
        results.require_own_folder(to_text(str(folder)))
        file = BUILT_IN if options.model is None else model_place(options.model)
        row_index = RowIndex(results.parts, sealed_digest(read_model(file), file))
        row_index.read()
        selection = Selection(options, folder, results.out, shard, Stop())
        counted = _Count(_known(row_index, options))
        for chunk in chunks(selection.files()):
            counted.add(chunk)
        if not counted.found and shard is None:
            selection.refuse_empty()
        due = sum(counted.due.values())
        seconds, runs = _estimate(_earlier(results), due)
        return Forecast(
            folder=to_text(str(folder)),
            out=to_text(str(results.out)),
            found=counted.found,
            reused=counted.found - due,
            gone=None if options.restrictions or shard else counted.gone(results),
            seconds=seconds,
            runs=runs,
            holder=results.lock_holder() if results.exists() else None,
            **counted.due,
        )


def _known(row_index: RowIndex, options: RunOptions) -> KeyIndex:
    """What is recorded of the images that this model has seen."""
    wants_features = options.features or options.svm is not None
    dtype = [("failed", np.bool_), ("enough", np.bool_)]

    def slices() -> Iterator[Array]:
        for rows in row_index.last_rows():
            enough = sufficient(rows, wants_features, options.lenient, options.fresh)
            marked = np.empty(len(rows), [*rows.dtype.descr, *dtype])
            for name in rows.dtype.names or ():
                marked[name] = rows[name]
            marked["failed"], marked["enough"] = rows["status"] != 0, enough
            yield marked

    fields = ["bytes", "mtime_ns", "failed", "enough"]
    return KeyIndex(slices(), fields, temporary_folder())


class _Count:
    """Counts files, chunk by chunk, by what is to be done with them."""

    def __init__(self, known: KeyIndex) -> None:
        self._known = known
        self._paths: list[Array] = []
        self._unlisted: list[str] = []
        self.found = 0
        self.due = {"new": 0, "changed": 0, "retried": 0, "again": 0}

    def add(self, chunk: list[ListedFile]) -> None:
        key = text_keys(file.path for file in chunk)
        self._paths.append(key["low"])
        self._unlisted += [file.path for file in chunk if file.path.endswith("/")]
        self.found += len(chunk)
        there, known = self._known.find(key)
        altered = changed(chunk, there, known)
        retried = ~altered & known["failed"]
        again = ~altered & ~retried & ~known["enough"]
        for name, mask in zip(self.due, (~there, altered, retried, again), strict=True):
            self.due[name] += int(mask.sum())

    def gone(self, results: Results) -> int | None:
        """How many images of the last complete run were not among the files, if that is known."""
        if not results.manifest.exists():
            return 0
        if read_summary_of(results.manifest).restrictions:
            return None
        now = np.sort(np.concatenate([*self._paths, np.zeros(0, np.uint64)]))
        lost = gone_rows(read_paths(results.manifest), now, self._unlisted)
        return sum(int(rows.num_rows) for rows in lost)


def _earlier(results: Results) -> list[Summary]:
    """The last runs that came to their end, latest first."""
    runs: list[Summary] = []
    with contextlib.suppress(OutputError):
        last = results.last_run()
        for run in () if last is None else (last, *results.history(last)):
            if run.complete and run.seconds is not None:
                runs.append(run)
            if len(runs) == _RUNS:
                break
    return runs


def _estimate(runs: Iterable[Summary], due: int) -> tuple[float | None, int]:
    """Seconds for some due images, and the number of runs that say so.

    A run takes a time of its own and, for each image, that of its speed; of both the medians count.
    """
    fixed, rates = [], []
    for run in runs:
        rate = run.images_per_second
        done = 0 if run.new is None else run.new.found
        fixed.append(max(0.0, (run.seconds or 0) - (done / rate if rate else 0)))
        rates += [rate] if rate else []
    if not fixed or (due and not rates):
        return None, 0
    per_image = due / statistics.median(rates) if due else 0.0
    return round(statistics.median(fixed) + per_image, 1), len(fixed)
