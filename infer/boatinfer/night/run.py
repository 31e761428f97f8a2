"""The night: scan, plan, classify, record, prove, summarise."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis import abstention
from boatinfer.errors import (
    BoatinferError,
    OutputError,
    PartError,
    RunInterruptedError,
    UsageError,
)
from boatinfer.models.model import Model, open_model, read_model
from boatinfer.night import handover, plan
from boatinfer.night.batch import Classifier
from boatinfer.night.engines import local
from boatinfer.night.engines.pipeline import classified
from boatinfer.night.interrupt import Stop, stop_on_signals
from boatinfer.night.scan import to_text
from boatinfer.night.selection import Selection
from boatinfer.night.shards import Shard
from boatinfer.night.stages import Stages
from boatinfer.options import Device, Engine, RunOptions
from boatinfer.pages import report
from boatinfer.results import predictions, proof
from boatinfer.results.compaction import compact
from boatinfer.results.contents import Contents
from boatinfer.results.damage import set_aside
from boatinfer.results.folder import Results
from boatinfer.results.parts import OK, Row
from boatinfer.results.summary import Summary, Trained
from boatinfer.storage.place import Place, resolved
from boatinfer.storage.store import served_by
from boatinfer.svm import model as svms
from boatinfer.text import counted
from boatinfer.versions import versions

if TYPE_CHECKING:
    from boatinfer.night.engines.ray_worker import Task

__all__ = ["Progress", "run"]

#: A part is written when it has this many rows, or when its oldest is this many seconds
#: old: what a kill can cost.
PART_ROWS = 1024
PART_SECONDS = 30.0

#: A cluster gets the files in waves of this many, while the listing goes on.
WAVE_FILES = 2**20

#: Chunks of files that the listing may be ahead: a quarter of a million files.
LISTED_AHEAD = 64


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        total: images that need work; None until the whole folder is listed.
        done: how many of them are done.
        failed: how many of those failed.
    """

    total: int | None
    done: int
    failed: int


def run(options: RunOptions, progress: Callable[[Progress], None] = lambda _: None) -> Summary:
    """Classifies a folder into a results folder.

    Images that a previous run classified with the same model, and that have not changed
    since, are reused without being opened; a copy or a renamed image is recognised by its
    content; what failed is tried again.

    Args:
        options: what to do.
        progress: called in this thread as images are done.

    Returns:
        The summary that ``run.json`` holds; its ``exit_code`` is 0 or 3.

    Raises:
        BoatinferError: of the kind that says what ended the run; what was done is kept.
    """
    proof.allowance(options.max_failures)  # refuses what is none
    shard = Shard.parse(options.shard) if options.shard else None
    folder, results = resolved(options.folder), Results(options.results_folder, shard)
    summary = _begin(options, folder, shard)
    with stop_on_signals() as stop, served_by(options.endpoint), contextlib.ExitStack() as stack:
        night = _Night(options, folder, results, summary, stop, progress)
        there = results.exists()
        if there:  # then a second run ends at once
            stack.enter_context(results.hold(summary.folder))
        with night.told_if_failed() if there else contextlib.nullcontext():
            found = night.start(stack)
        if not there:  # and only a run that can start makes a new folder
            stack.enter_context(results.hold(summary.folder))
        with night.told_if_failed():
            night.work(found, stack)
    return summary


@dataclass
class _Night:
    """One run: its options, what it works with, and its summary as it comes about."""

    options: RunOptions
    folder: Place
    results: Results
    summary: Summary
    stop: Stop
    progress: Callable[[Progress], None]
    started: float = field(default_factory=time.monotonic)
    stages: Stages = field(default_factory=Stages)
    selection: Selection = field(init=False)
    model: Model = field(init=False)
    svm: svms.SVM | None = field(init=False)

    def start(self, stack: contextlib.ExitStack) -> Iterator[pa.Table]:
        """Opens the model and sees the first images: what can go wrong before a folder is made.

        Args:
            stack: keeps the listing, which has a thread of its own.

        Returns:
            The images found, chunk by chunk, while the listing goes on: tables of `plan.table`.
        """
        shard = self.results.shard
        self.selection = Selection(self.options, self.folder, self.results.out, shard, self.stop)
        listing = self.stages.taking("list", plan.chunks(self.selection.files()))
        found = stack.enter_context(local.spread(plan.table, listing, 1, ahead=LISTED_AHEAD))
        with self.stages.working("start"):
            device = self.options.device
            if self.options.engine is Engine.RAY:
                from boatinfer.night.engines import ray

                stack.enter_context(ray.cluster(self.options.ray_address))
                device = Device.CPU  # here; the workers' machines may have others
            self.model = open_model(self.options.model, device, 1, self.options.batch_size)
            self.svm = svms.load_for(self.model, self.options.svm)
        if self.options.features and self.model.card.features is None:
            raise UsageError(f"{self.model.path} has no feature output, so --features cannot work.")
        threshold = abstention.wanted(self.options, self.model.digest, self.model.card.classes)
        if threshold is not None:
            self.summary.min_confidence = threshold.min_confidence
            self.summary.target_accuracy = threshold.target_accuracy
        first = next(found, None)
        self.stop.check()
        if first is None and not self.selection.listing.files:  # a shard may have none of some
            raise self.selection.nothing_found()
        summary = self.summary
        summary.versions, summary.device = versions(), self.model.device.value
        summary.model, summary.model_name = self.model.digest, self.model.card.name
        summary.classes, summary.training = self.model.card.classes, Trained.of(self.model.card)
        summary.threads = self.options.threads or local.usable_cpus()
        return found if first is None else itertools.chain([first], found)

    def work(self, found: Iterator[pa.Table], stack: contextlib.ExitStack) -> None:
        """Classifies, proves and summarises; starts over without a part that is damaged.

        Args:
            found: the images found.
            stack: as of `start`.
        """
        while True:
            try:
                self._work(found)
            except PartError as error:
                if not set_aside(self.results.parts, error.part):
                    raise
                self.summary.remarks.append(
                    f"The part {error.part.name} was damaged: it was set aside, and its images "
                    "were classified anew."
                )
                if str(self.options.from_file) == "-":
                    raise OutputError(
                        f"the part {error.part} was damaged and is set aside; run again, for the "
                        "list on the standard input cannot be read twice."
                    ) from error
                found = self.start(stack)
            else:
                return

    def _work(self, found: Iterator[pa.Table]) -> None:
        results, summary, options = self.results, self.summary, self.options
        results.supersede()
        before = results.parts.index()
        last_part = pc.max(before["part"]).as_py() or 0
        noted = self._classify(found, before)
        card = self.model.card
        del self.model  # what follows needs its memory more
        index = results.parts.index(before)
        rows = plan.current(noted, index, summary.model)
        index, summary.found = index.select(["part", "row"]), noted.num_rows
        del before, noted  # the tables that follow need the room
        proof.prove(summary, rows, last_part)
        self._require_complete()
        if results.shard is not None:
            ending = handover.Ending.of(options, card, summary.min_confidence)
            handover.leave(results, rows, handover.Handover(ending, self.selection.listing))
            self._close(0)
            results.write_summary(summary)
            return
        with self.stages.working("tables"):
            tables = predictions.made_tables(
                results,
                rows,
                card,
                night=results.night(summary),
                top=options.top,
                svm=self.svm,
                min_confidence=summary.min_confidence,
            )
            predictions.write_tables(results, tables, summary)
        proof.count(summary, tables)
        proof.judge(summary, options.max_failures)
        self._close(summary.exit_code)
        results.write_current([rows], summary)
        self._report(tables)
        results.write_summary(summary)
        with contextlib.suppress(BoatinferError):  # mere housekeeping; the next run tries again
            compact(
                results.parts,
                index,
                None if options.restrictions else rows,
                merged=lambda: results.write_current([rows], summary),
            )

    def _require_complete(self) -> None:
        summary = self.summary
        if self.stop.signal_number:
            raise RunInterruptedError(
                f"interrupted; {summary.classified + summary.reused:,} of "
                f"{counted(summary.found, 'image')} are done, and the next run continues from "
                "there.",
                self.stop.signal_number,
            )
        if not summary.complete:
            raise BoatinferError(
                f"the rows in {self.results.out} do not account for every image found, see "
                "run.json; run again, and report it if it stays so."
            )

    @contextlib.contextmanager
    def told_if_failed(self) -> Iterator[None]:
        """Leaves word, in run.json and on the page, of a run that does not come to its end."""
        try:
            yield
        except Exception as error:
            self.summary.complete, self.summary.error = False, to_text(str(error))
            self._close(getattr(error, "exit_code", BoatinferError.exit_code))
            with contextlib.suppress(BoatinferError):  # the error itself says more
                self.results.write_summary(self.summary)
                self._report(None)
            raise

    @property
    def wants_features(self) -> bool:
        """Whether rows need features: to keep them, or for the SVM."""
        return self.options.features or self.options.svm is not None

    def _remembered(self, index: pa.Table) -> tuple[plan.Agenda, Contents]:
        """What this run may reuse of earlier ones, to be found by path and by content."""
        options = self.options
        known = plan.reusable(index, self.model.digest, self.wants_features, options.lenient)
        known = known.slice(0, 0) if options.fresh else known
        return plan.Agenda(known), Contents(self.results.parts, known)

    def _classify(self, found: Iterator[pa.Table], index: pa.Table) -> pa.Table:
        """Classifies images and records them in parts; after a signal, those it has begun.

        Args:
            found: the images found, chunk by chunk.
            index: what the parts say.

        Returns:
            `plan.Agenda.found`: what was found, and what of it was due.
        """
        agenda, contents = self._remembered(index)
        started = time.monotonic()
        work = self._distribute if self.options.engine is Engine.RAY else self._work_through
        done = work(found, agenda, contents)
        if done:
            self.summary.images_per_second = round(done / (time.monotonic() - started), 1)
        return agenda.found()

    def _begun(self) -> None:
        """Says that the first images are being read."""
        self.results.write_summary(self.summary)
        self._report(None)
        self.progress(Progress(None, 0, 0))

    def _work_through(
        self, found: Iterator[pa.Table], agenda: plan.Agenda, contents: Contents
    ) -> int:
        """Does what is due in this process; gives how many images that were."""
        written = time.monotonic()
        done = failed = 0
        pending: list[Row] = []
        try:
            with self._spread(found, agenda, contents) as rows_done:
                self._begun()
                for rows in rows_done:
                    pending += rows
                    done += len(rows)
                    failed += sum(row.status != OK for row in rows)
                    if len(pending) >= PART_ROWS or time.monotonic() - written >= PART_SECONDS:
                        recorded, pending = pending, []
                        self._record(recorded, contents)
                        written = time.monotonic()
                    self.progress(Progress(agenda.total, done, failed))
        finally:  # whatever happened, what was done is kept
            if pending:
                self._record(pending, contents)
        return done

    @contextlib.contextmanager
    def _spread(
        self, found: Iterator[pa.Table], agenda: plan.Agenda, contents: Contents
    ) -> Iterator[Iterator[list[Row]]]:
        """Gives the rows of what is due, in lists, as they are done in other threads."""
        size = self.model.batch_size
        threads = self.summary.threads or 1
        batches = itertools.takewhile(
            lambda _: not self.stop.signal_number, agenda.batches(found, size)
        )
        work = Classifier(
            self.model,
            self.folder,
            size,
            features=self.wants_features,
            lenient=self.options.lenient,
            contents=contents,
            stages=self.stages,
        )
        with classified(work, batches, threads) as rows:
            yield rows

    def _distribute(
        self, found: Iterator[pa.Table], agenda: plan.Agenda, contents: Contents
    ) -> int:
        """Lets a Ray cluster do what is due; gives how many images that were."""
        from boatinfer.night.engines import ray

        done = failed = 0
        self._begun()

        def count(more: int, bad: int) -> None:
            nonlocal done, failed
            done, failed = done + more, failed + bad
            self.progress(Progress(agenda.total, done, failed))

        for due in plan.waves(agenda.batches(found, plan.CHUNK_FILES), WAVE_FILES):
            if self.stop.signal_number:
                break
            task = self._task(due, contents)
            self.summary.device, self.summary.threads = ray.distribute(
                task, due, self.options.workers, self.stop, count
            )
        return done

    def _task(self, due: pa.Table, contents: Contents) -> Task:
        """What the workers of a Ray cluster need to know."""
        from boatinfer.night.engines import ray, ray_worker

        options, device = self.options, ray.device_of(self.options.device)
        ends = due["path"].take([0, due.num_rows - 1]).to_pylist()
        mark = self.results.out / f".ray-{self.summary.run}"
        return ray_worker.Task(
            sight=ray_worker.Sight(versions(), mark, self.folder, tuple(ends), options.endpoint),
            content=read_model(self.model.path),
            path=self.model.path,
            device=device,
            threads=options.threads or ray.threads_of(device),
            parts=self.results.parts,
            run=self.summary.run,
            size=self.model.batch_size,
            features=self.wants_features,
            lenient=options.lenient,
            contents=contents,
            block_rows=PART_ROWS if device is Device.CUDA else self._part_rows(),
        )

    def _part_rows(self) -> int:
        """Images that make a part, as far as one batch tells how many seconds they take."""
        image, size = self.model.card.image, self.model.batch_size
        batch = np.zeros((size, image.height, image.width, 3), np.uint8)
        started = time.perf_counter()
        self.model.infer(batch)
        rate = size / (time.perf_counter() - started)
        return min(PART_ROWS, max(size, int(rate * PART_SECONDS)))

    def _record(self, rows: list[Row], contents: Contents) -> None:
        with self.stages.working("record"):
            contents.fill(rows, self.wants_features)
            model = self.model
            self.results.parts.append(rows, model.card.classes, model.digest, self.summary.run)

    def _close(self, exit_code: int | None) -> None:
        self.summary.finished = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.summary.seconds = round(time.monotonic() - self.started, 3)
        self.summary.exit_code = exit_code
        self.summary.stages = {
            stage: round(seconds, 3) for stage, seconds in self.stages.seconds.items()
        }

    def _report(self, tables: predictions.Tables | None) -> None:
        """Writes the page; that of a shard is written with those of the others."""
        if self.results.shard is None:
            report.write(self.results, self.summary, tables, self.options.report)


def _begin(options: RunOptions, folder: Place, shard: Shard | None) -> Summary:
    now = datetime.now(UTC)
    which = f"-shard-{shard.name}" if shard else ""
    return Summary(
        run=f"{now:%Y%m%dT%H%M%S.%fZ}{which}",
        folder=to_text(str(folder)),
        started=now.isoformat(timespec="milliseconds"),
        restrictions=options.restrictions,
    )
