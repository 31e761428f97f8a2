"""The night: scan, plan, classify, record, prove, summarise."""

from __future__ import annotations

import contextlib
import itertools
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import boatinfer
from boatinfer import predictions, report
from boatinfer import svm as svms
from boatinfer.batch import Classifier
from boatinfer.engines import local
from boatinfer.errors import TOO_MANY_FAILURES, BoatinferError, RunInterruptedError, UsageError
from boatinfer.model import Model, open_model
from boatinfer.options import RunOptions
from boatinfer.results import OK, Results, Row, Summary
from boatinfer.scan import Found, scan

__all__ = ["Progress", "run"]

#: A part is written when it has this many rows, or when its oldest is this many seconds
#: old: what a kill can cost.
PART_ROWS = 4096
PART_SECONDS = 30.0

#: Pixels that make a batch of default size, up to 32 images.
_BATCH_PIXELS = 2_000_000


class Progress(NamedTuple):
    """How far a run is: images that need work, how many are done, how many of them failed."""

    total: int
    done: int
    failed: int


def run(options: RunOptions, progress: Callable[[Progress], None] = lambda _: None) -> Summary:
    """Classifies a folder into a results folder.

    Images that a previous run classified with the same model, and that have not changed
    since, are reused; what failed is tried again.

    Args:
        options: what to do.
        progress: called in this thread as images are done.

    Returns:
        The summary that ``run.json`` holds; its ``exit_code`` is 0 or 3.

    Raises:
        BoatinferError: of the kind that says what ended the run; what was done is kept.
    """
    started = time.monotonic()
    allowed = _allowance(options.max_failures)
    with _stop_on_signals() as stop:
        folder, results = options.folder.resolve(), Results(options.results_folder)
        found = _listing(options.folder, scan(folder, skip=results.out), stop)
        model = open_model(options.model, options.device, threads=1)
        svm = _load_svm(options.svm, model)
        if options.features and model.card.features is None:
            raise UsageError(f"{model.path} has no feature output, so --features cannot work.")
        with results.hold(folder):
            summary = _begin(folder, found.num_rows, model)
            night = _Night(options, results, model, summary, stop, progress)
            results.write_summary(summary)
            night.classify(night.plan(found))
            rows = night.prove(found)
            if stop.signal_number:
                raise night.interrupted(started)
            table = predictions.write_tables(results, rows, model.card.classes, options.top, svm)
            summary.labels = _counts(table["label"])
            too_many = summary.failed > allowed(summary.found)
            night.close(started, TOO_MANY_FAILURES if too_many else 0)
            report.write(results, summary, table)
            results.write_summary(summary)
    if not summary.complete:
        raise BoatinferError(
            f"the rows in {results.out} do not account for every image found, see run.json; run "
            "again, and report it if it stays so."
        )
    return summary


@dataclass(frozen=True)
class _Night:
    """One run: its options, what it works with, and its summary as it comes about."""

    options: RunOptions
    results: Results
    model: Model
    summary: Summary
    stop: _Stop
    progress: Callable[[Progress], None]

    @property
    def wants_features(self) -> bool:
        """Whether rows need features: to keep them, or for the SVM."""
        return self.options.features or self.options.svm is not None

    def plan(self, found: pa.Table) -> list[Found]:
        """The images whose last row does not hold what this run wants, sorted by path."""
        index = self.results.index()
        reusable = pc.and_(
            pc.equal(index["status"], OK), pc.equal(index["model"], self.model.digest)
        )
        if self.wants_features:
            reusable = pc.and_(reusable, index["has_features"])
        keys = ["path", "bytes", "mtime_ns"]
        todo = found.join(index.filter(reusable).select(keys), keys, join_type="left anti")
        columns = [column.to_pylist() for column in todo.sort_by("path").columns]
        return [Found(*row) for row in zip(*columns, strict=True)]

    def classify(self, todo: list[Found]) -> None:
        """Classifies images and records them in parts; after a signal, those it has begun."""
        started = written = time.monotonic()
        done = failed = 0
        pending: list[Row] = []
        self.progress(Progress(len(todo), 0, 0))
        for rows in self._spread(todo):
            pending += rows
            done += len(rows)
            failed += sum(row.status != OK for row in rows)
            self.progress(Progress(len(todo), done, failed))
            if len(pending) >= PART_ROWS or time.monotonic() - written >= PART_SECONDS:
                self._record(pending)
                pending, written = [], time.monotonic()
        if pending:
            self._record(pending)
        if done:
            self.summary.images_per_second = round(done / (time.monotonic() - started), 1)

    def _spread(self, todo: list[Found]) -> Iterator[list[Row]]:
        image = self.model.card.image
        default = min(32, max(1, _BATCH_PIXELS // (image.height * image.width)))
        size = self.options.batch_size or default
        batches = itertools.takewhile(
            lambda _: not self.stop.signal_number,
            (todo[i : i + size] for i in range(0, len(todo), size)),
        )
        folder = Path(self.summary.folder)
        work = Classifier(self.model, folder, self.wants_features, self.options.lenient)
        return local.spread(work, batches, self.options.threads or local.usable_cpus())

    def _record(self, rows: list[Row]) -> None:
        self.results.append(rows, self.model.card.classes, self.model.digest, self.summary.run)

    def prove(self, found: pa.Table) -> pa.Table:
        """Counts, from the parts on disk, what became of every image found.

        Returns:
            The rows of `Results.index` for this run's images.
        """
        rows = found.select(["path"]).join(self.results.index(), "path", join_type="inner")
        sound = pc.equal(rows["status"], OK)
        failed = pc.invert(sound)
        ours = pc.equal(rows["run"], self.summary.run)
        earlier = pc.and_(pc.invert(ours), pc.equal(rows["model"], self.model.digest))
        summary = self.summary
        summary.classified = _true(pc.and_(sound, ours))
        summary.reused = _true(pc.and_(sound, earlier))
        summary.failed = _true(pc.and_(failed, ours))
        summary.failures = _counts(rows["status"].filter(failed))
        accounted = summary.classified + summary.reused + summary.failed
        summary.complete = accounted == rows.num_rows == summary.found
        return rows

    def close(self, started: float, exit_code: int) -> None:
        """Fills in how the run ended; without the proof it ends as a bug."""
        self.summary.finished = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.summary.seconds = round(time.monotonic() - started, 3)
        self.summary.exit_code = exit_code if self.summary.complete else BoatinferError.exit_code

    def interrupted(self, started: float) -> RunInterruptedError:
        """Writes the summary of a run that a signal ended, and gives the error to raise."""
        summary = self.summary
        error = RunInterruptedError(
            f"interrupted; {summary.classified + summary.reused:,} of {summary.found:,} images "
            "are done, and the next run continues from there.",
            self.stop.signal_number,
        )
        self.close(started, error.exit_code)
        summary.complete, summary.exit_code = False, error.exit_code
        self.results.write_summary(summary)
        return error


def _listing(folder: Path, found: Iterable[Found], stop: _Stop) -> pa.Table:
    """Makes a table of path, bytes and mtime_ns of the listing."""
    paths: list[str] = []
    sizes: list[int] = []
    times: list[int] = []
    for file in found:
        stop.check()
        paths.append(file.path)
        sizes.append(file.bytes)
        times.append(file.mtime_ns)
    if not paths:
        raise UsageError(
            f"the folder {folder} holds no image files; check the name, and that the disk is there."
        )
    return pa.table(
        {
            "path": pa.array(paths, pa.string()),
            "bytes": pa.array(sizes, pa.int64()),
            "mtime_ns": pa.array(times, pa.int64()),
        }
    )


def _begin(folder: Path, found: int, model: Model) -> Summary:
    now = datetime.now(UTC)
    return Summary(
        run=now.strftime("%Y%m%dT%H%M%S.%fZ"),
        folder=str(folder),
        started=now.isoformat(timespec="milliseconds"),
        found=found,
        model=model.digest,
        device=model.device.value,
        versions=_versions(),
    )


def _load_svm(path: Path | None, model: Model) -> svms.SVM | None:
    if path is None:
        return None
    svm = svms.load(path)
    features = model.card.features
    svm.check(model.digest, None if features is None else features.dimension, path)
    return svm


def _versions() -> dict[str, str]:
    import onnxruntime
    import PIL
    import simplejpeg

    modules = {
        "boatinfer": boatinfer,
        "onnxruntime": onnxruntime,
        "numpy": np,
        "pyarrow": pa,
        "pillow": PIL,
        "simplejpeg": simplejpeg,
    }
    versions = {name: str(module.__version__) for name, module in modules.items()}
    return versions | {"python": platform.python_version()}


def _true(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts = column.drop_null().value_counts().to_pylist()
    return dict(sorted((str(count["values"]), int(count["counts"])) for count in counts))


def _allowance(text: str) -> Callable[[int], float]:
    """Reads ``--max-failures``: a share of the images found, or a number of them."""
    try:
        number = float(text.removesuffix("%")) if text.endswith("%") else int(text)
    except ValueError:
        number = -1
    if not number >= 0:  # NaN too
        raise UsageError(f"--max-failures {text}: give a percentage such as 5%, or a number.")
    return lambda found: found * number / 100 if text.endswith("%") else number


class _Stop:
    """Set by SIGINT or SIGTERM; the run then finishes its batches and writes them."""

    signal_number = 0

    def check(self) -> None:
        """Ends a run of which nothing is recorded yet."""
        if self.signal_number:
            raise RunInterruptedError("interrupted before the first image.", self.signal_number)


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[_Stop]:
    """Lets the first SIGINT or SIGTERM end the run in order; a second one acts at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers; its owner decides
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _: object) -> None:
        stop.signal_number = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
