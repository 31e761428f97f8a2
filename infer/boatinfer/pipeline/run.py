"""The night: scan, plan, classify, record, prove, summarise."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pyarrow as pa

from boatinfer import images
from boatinfer.analysis import abstention
from boatinfer.cpus import usable_cpus
from boatinfer.errors import (
    BoatinferError,
    ModelError,
    OutputError,
    RunInterruptedError,
    UsageError,
)
from boatinfer.isolation.supervisor import Supervisor, WorkerDiedError
from boatinfer.models import svm as svms
from boatinfer.models.device import Device
from boatinfer.models.model import open_model
from boatinfer.parallel import spread
from boatinfer.pipeline import plan, shard_manifest
from boatinfer.pipeline.context import Night
from boatinfer.pipeline.engines import local
from boatinfer.pipeline.options import Engine, RunOptions
from boatinfer.pipeline.progress import Progress
from boatinfer.pipeline.selection import Selection
from boatinfer.pipeline.worker import Classification, lost_in_run
from boatinfer.results import proof, published_tables
from boatinfer.results.folder import Results
from boatinfer.results.integrity import set_aside
from boatinfer.results.store.compaction import compact
from boatinfer.results.store.duplicates import Contents
from boatinfer.results.store.index import Ledger
from boatinfer.results.store.keyed_arrays import Records
from boatinfer.results.store.parts import PartError
from boatinfer.results.store.rows import Row
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary, Trained
from boatinfer.results.tables import predictions
from boatinfer.signals import stop_on_signals
from boatinfer.storage.base import Place
from boatinfer.storage.connections import served_by
from boatinfer.storage.listing import Found
from boatinfer.storage.locations import resolved
from boatinfer.text import counted, to_text
from boatinfer.versions import versions

__all__ = ["Progress", "run"]

#: Chunks of files that the plan may be ahead of the work: a quarter of a million files.
LISTED_AHEAD = 64


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
    if not isinstance(options, RunOptions):  # as Python users without types may write it
        raise UsageError("run takes RunOptions; write run(RunOptions('photos')).")
    _require_utf8()
    proof.allowance(options.max_failures)  # refuses what is none
    shard = Shard.parse(options.shard) if options.shard else None
    folder, results = resolved(options.folder), Results(options.results_folder, shard)
    summary = _begin(options, folder, shard)
    with (
        stop_on_signals() as stop,
        served_by(options.endpoint),
        images.limited(options.memory, options.threads),
        contextlib.ExitStack() as stack,
    ):
        night = Night(options, folder, results, summary, stop, progress)
        there = results.exists()
        if there:  # then a second run ends at once
            stack.enter_context(results.hold(summary.folder))
        with night.told_if_failed() if there else contextlib.nullcontext():
            found = _start(night, stack)
        if not there:  # and only a run that can start makes a new folder
            stack.enter_context(results.hold(summary.folder))
        with night.told_if_failed():
            _work(night, found, stack)
    return summary


def _start(night: Night, stack: contextlib.ExitStack) -> Iterator[pa.Table]:
    """Opens the model and sees the first images: what can go wrong before a folder is made.

    Args:
        night: the run.
        stack: keeps the listing, which has a thread of its own.

    Returns:
        The images found, chunk by chunk, while the listing goes on: tables of `plan.table`.
    """
    shard = night.results.shard
    if _isolated(night.options):
        night.worker = _start_worker(night.options)
        stack.callback(night.worker.close)
    night.selection = Selection(night.options, night.folder, night.results.out, shard, night.stop)
    listing = night.stages.taking("list", plan.chunks(night.selection.files()))
    found = stack.enter_context(spread(plan.table, listing, 1))
    with night.stages.working("start"):
        _open_model(night, stack)
        night.svm = svms.load_for(night.model, night.options.svm)
    if night.options.features and night.model.card.features is None:
        raise UsageError(f"{night.model.path} has no feature output, so --features cannot work.")
    threshold = abstention.wanted(
        night.model.digest,
        night.model.card.classes,
        min_confidence=night.options.min_confidence,
        target_accuracy=night.options.target_accuracy,
        evaluation=night.options.evaluation,
    )
    if threshold is not None:
        night.summary.min_confidence = threshold.min_confidence
        night.summary.target_accuracy = threshold.target_accuracy
    first = next(found, None)
    night.stop.check()
    if first is None and not night.selection.listing.files:  # a shard may have none of some
        raise night.selection.nothing_found()
    summary = night.summary
    summary.versions, summary.device = versions(), night.model.device.value
    summary.model, summary.model_name = night.model.digest, night.model.card.name
    summary.classes, summary.training = night.model.card.classes, Trained.of(night.model.card)
    summary.threads = night.options.threads or usable_cpus()
    return found if first is None else itertools.chain([first], found)


def _require_utf8() -> None:
    """Refuses a Python that would take file names for other text; the command line never is one."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise UsageError(
            f"Python takes file names for {encoding} here, and libraries for UTF-8; set "
            "PYTHONUTF8=1 before Python starts."
        )


def _isolated(options: RunOptions) -> bool:
    return options.isolate and options.engine is Engine.LOCAL


def _start_worker(options: RunOptions) -> Supervisor[Found, Row]:
    """Starts the process that opens the model and works on the images."""
    task = Classification.of(options)
    return Supervisor(task, lost_in_run, options.image_timeout)


def _open_model(night: Night, stack: contextlib.ExitStack) -> None:
    """Opens the model where the work is done: in the worker process, or here."""
    if night.worker is not None:
        try:
            night.model = night.worker.opened()
        except WorkerDiedError as error:
            raise ModelError(
                f"opening the model {night.options.model or 'boats'} failed: {error}"
            ) from error
        return
    device = night.options.device
    if night.options.engine is Engine.RAY:
        from boatinfer.pipeline.engines.ray import cluster

        stack.enter_context(cluster.cluster(night.options.ray_address))
        device = Device.CPU  # here; the workers' machines may have others
    night.model = open_model(night.options.model, device, 1, night.options.batch_size)


def _work(night: Night, found: Iterator[pa.Table], stack: contextlib.ExitStack) -> None:
    """Classifies, proves and summarises; starts over without a part that is damaged.

    Args:
        night: the run.
        found: the images found.
        stack: as of `start`.
    """
    while True:
        try:
            _work_once(night, found)
        except PartError as error:
            if not set_aside(night.results.parts, error.part):
                raise
            night.summary.remarks.append(
                f"The part {error.part.name} was damaged: it was set aside, and its images "
                "were classified anew."
            )
            if str(night.options.from_file) == "-":
                raise OutputError(
                    f"the part {error.part} was damaged and is set aside; run again, for the "
                    "list on the standard input cannot be read twice."
                ) from error
            if night.worker is not None:
                night.worker.close()
            found = _start(night, stack)
        else:
            return


def _work_once(night: Night, found: Iterator[pa.Table]) -> None:
    results, summary, options = night.results, night.summary, night.options
    results.supersede()
    ledger = Ledger(results.parts, summary.model, summary.run)
    ledger.read()
    last_part = ledger.last_part
    noted = _classify(night, found, ledger)
    left_out = night.selection.left_out
    summary.other_files = dict(sorted(left_out.other_files.items()))
    summary.system_folders = dict(sorted(left_out.system_folders.items()))
    card = night.model.card
    if night.worker is not None:
        night.worker.close()  # what follows needs its memory more
    ledger.read()
    proved = proof.prove(summary, plan.current(noted, ledger), ledger, last_part)
    del noted
    _require_complete(night)
    if results.shard is not None:
        ending = shard_manifest.Ending.of(options, card, night.svm, summary.min_confidence)
        left = shard_manifest.Handover(ending, night.selection.listing, proved.digest)
        shard_manifest.leave(results, proved.marks, left)
        night.close(0)
        results.write_summary(summary)
        return
    with night.stages.working("tables"):
        tables = predictions.made_tables(
            results.parts.read_marked(proved.marks, predictions.needed(card, night.svm)),
            card,
            night=results.night(summary),
            top=options.top,
            svm=night.svm,
            min_confidence=summary.min_confidence,
            beside=results.out,
        )
        published_tables.write_tables(results, tables, summary)
    proof.count(summary, tables)
    proof.judge(summary, options.max_failures)
    night.close(summary.exit_code)
    results.write_current(tables.predictions, summary)
    night.report(tables)
    results.write_summary(summary)
    # Mere housekeeping: the next run tries again.
    with contextlib.suppress(BoatinferError, OSError):
        compact(
            ledger,
            None if options.restrictions else proved.marks,
            merged=lambda: results.write_current(tables.predictions, summary),
        )


def _require_complete(night: Night) -> None:
    summary = night.summary
    if night.stop.signal_number:
        raise RunInterruptedError(
            f"interrupted; {summary.classified + summary.reused:,} of "
            f"{counted(summary.found, 'image')} are done, and the next run continues from "
            "there.",
            night.stop.signal_number,
        )
    if not summary.complete:
        raise BoatinferError(
            f"the rows in {night.results.out} do not account for every image found, see "
            "run.json; run again, and report it if it stays so."
        )


def _classify(night: Night, found: Iterator[pa.Table], ledger: Ledger) -> Records:
    """Classifies images and records them in parts; after a signal, those it has begun.

    Args:
        night: the run.
        found: the images found, chunk by chunk.
        ledger: what the parts say.

    Returns:
        `plan.Agenda.found`: what was found, and what of it was due.
    """
    options, parts = night.options, night.results.parts
    known, marks = plan.reusable(ledger, night.wants_features, options.lenient, options.fresh)
    agenda = plan.Agenda(known, parts.folder, plan.dangerous(ledger))
    contents = Contents(parts, marks)
    started = time.monotonic()
    # What is due is found in a thread that is ahead of the work, so that its end can be told.
    with spread(lambda files: files, agenda.due(found), 1, ahead=LISTED_AHEAD) as due:
        done = _engine(options)(night, due, agenda, contents)
    if done:
        night.summary.images_per_second = round(done / (time.monotonic() - started), 1)
    return agenda.found


def _engine(options: RunOptions) -> Callable[..., int]:
    """Who does the work."""
    if options.engine is Engine.LOCAL:
        return local.work
    from boatinfer.pipeline.engines.ray import engine

    return engine.work


def _begin(options: RunOptions, folder: Place, shard: Shard | None) -> Summary:
    now = datetime.now(UTC)
    which = f"-shard-{shard.name}" if shard else ""
    return Summary(
        run=f"{now:%Y%m%dT%H%M%S.%fZ}{which}",
        folder=to_text(str(folder)),
        started=now.isoformat(timespec="milliseconds"),
        restrictions=options.restrictions,
    )
