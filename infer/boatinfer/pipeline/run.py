"""The night: scan, plan, classify, record, prove, summarise."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from boatinfer import images, logs
from boatinfer.analysis import abstention
from boatinfer.analysis.unusual import mark_unusual
from boatinfer.cpus import usable_cpus
from boatinfer.errors import (
    BoatinferError,
    ModelError,
    OutputError,
    RunInterruptedError,
    UsageError,
)
from boatinfer.i18n import resolved
from boatinfer.isolation.supervisor import Supervisor, WorkerDiedError
from boatinfer.models import svm as svms
from boatinfer.models.device import Device
from boatinfer.models.model import open_model
from boatinfer.parallel import parallel_unordered
from boatinfer.pipeline import plan, shard_manifest
from boatinfer.pipeline.context import RunContext
from boatinfer.pipeline.engines import local
from boatinfer.pipeline.options import Engine, RunOptions
from boatinfer.pipeline.progress import Progress
from boatinfer.pipeline.selection import Selection
from boatinfer.pipeline.service import with_model_in_service
from boatinfer.pipeline.shadow import run_challenger
from boatinfer.pipeline.worker import Classification, lost_in_run
from boatinfer.results import proof, published_tables
from boatinfer.results.folder import Results
from boatinfer.results.integrity import set_aside
from boatinfer.results.new_features import with_new_features
from boatinfer.results.reviewed import read_reviewed
from boatinfer.results.store.compaction import compact
from boatinfer.results.store.duplicates import ContentIndex
from boatinfer.results.store.failures import FailureIndex
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.keyed_arrays import KeyedArrays
from boatinfer.results.store.parts import PartError
from boatinfer.results.store.rows import Row
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary, Trained
from boatinfer.results.tables import predictions, spreadsheet
from boatinfer.results.tables.predictions import UNKNOWN
from boatinfer.signals import stop_on_signals
from boatinfer.storage.base import Place
from boatinfer.storage.connections import s3_endpoint
from boatinfer.storage.listing import ListedFile
from boatinfer.storage.locations import resolve
from boatinfer.text import counted, to_text
from boatinfer.versions import versions

__all__ = ["Progress", "run"]

_log = logging.getLogger(__name__)

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
    options = with_model_in_service(options)
    proof.allowance(options.max_failures)  # refuses what is none
    if options.xlsx:
        spreadsheet.require_writer()
    shard = Shard.parse(options.shard) if options.shard else None
    folder, results = resolve(options.folder), Results(options.results_folder, shard)
    summary = _begin(options, folder, shard)
    logs.about(run=summary.run, folder=summary.folder)
    _log.info("the run has started")
    with (
        stop_on_signals() as stop,
        s3_endpoint(options.endpoint),
        images.temporary_limits(options.memory, options.threads),
        contextlib.ExitStack() as stack,
    ):
        context = RunContext(options, folder, results, summary, stop, progress)
        there = results.exists()
        if there:  # then a second run ends at once
            stack.enter_context(results.lock(summary.folder))
        with context.record_failure() if there else contextlib.nullcontext():
            found = _start(context, stack)
        if not there:  # and only a run that can start makes a new folder
            stack.enter_context(results.lock(summary.folder))
        with context.record_failure():
            _work(context, found, stack)
    return context.summary


def _start(context: RunContext, stack: contextlib.ExitStack) -> Iterator[list[ListedFile]]:
    """Opens the model and sees the first images: what can go wrong before a folder is made.

    Args:
        context: the run.
        stack: keeps the listing, which has a thread of its own.

    Returns:
        The images found, chunk by chunk, while the listing goes on.
    """
    shard = context.results.shard
    if _isolated(context.options):
        context.worker = _start_worker(context.options)
        stack.callback(context.worker.close)
    context.selection = Selection(
        context.options, context.folder, context.results.out, shard, context.stop
    )
    listing = context.stages.taking("list", plan.chunks(context.selection.files()))
    found = stack.enter_context(parallel_unordered(_as_it_is, listing, 1))
    with context.stages.working("start"):
        _open_model(context, stack)
        context.svm = svms.load_for_model(context.model, context.options.svm)
    if context.options.features and context.model.card.features is None:
        raise UsageError(f"{context.model.path} has no feature output, so --features cannot work.")
    threshold = abstention.resolve_threshold(
        context.model.digest,
        context.model.card.classes,
        min_confidence=context.options.min_confidence,
        target_accuracy=context.options.target_accuracy,
        evaluation=context.options.evaluation,
    )
    if threshold is not None:
        context.note(
            min_confidence=threshold.min_confidence, target_accuracy=threshold.target_accuracy
        )
    context.note(max_novelty=_max_novelty(context))
    first = next(found, None)
    context.stop.check()
    if first is None and not context.selection.listing.files:  # a shard may have none of some
        context.selection.refuse_empty()
    model = context.model
    context.note(
        versions=versions(),
        device=model.device.value,
        model=model.digest,
        model_name=model.card.name,
        model_file=to_text(str(model.path)),
        classes=model.card.classes,
        training=Trained.of(model.card),
        threads=context.options.threads or usable_cpus(),
    )
    return found if first is None else itertools.chain([first], found)


def _max_novelty(context: RunContext) -> float | None:
    """The limit of the options, or else of the model's card; None for a model without novelty."""
    novelty, option = context.model.card.novelty, context.options.max_novelty
    if novelty is None:
        if option is not None:
            raise UsageError(
                f"{context.model.path} has no novelty output, so --max-novelty cannot work; add "
                "one with 'boatinfer model know', or omit the option."
            )
        return None
    limit = novelty.max_novelty if option is None else option
    if limit < 1 and UNKNOWN in context.model.card.classes:
        raise UsageError(
            f"the model has a class {UNKNOWN!r} of its own, which is the label of images unlike "
            "anything in training; give --max-novelty 1."
        )
    return limit if limit < 1 else None


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


def _start_worker(options: RunOptions) -> Supervisor[ListedFile, Row]:
    """Starts the process that opens the model and works on the images."""
    task = Classification.of(options)
    return Supervisor(task, lost_in_run, options.image_timeout)


def _open_model(context: RunContext, stack: contextlib.ExitStack) -> None:
    """Opens the model where the work is done: in the worker process, or here."""
    if context.worker is not None:
        try:
            context.model = context.worker.wait_until_open()
        except WorkerDiedError as error:
            raise ModelError(
                f"opening the model {context.options.model or 'boats'} failed: {error}"
            ) from error
        return
    device = context.options.device
    if context.options.engine is Engine.RAY:
        from boatinfer.pipeline.engines.ray import cluster

        stack.enter_context(cluster.cluster(context.options.ray_address))
        device = Device.CPU  # here; the workers' machines may have others
    context.model = open_model(context.options.model, device, 1, context.options.batch_size)


def _work(
    context: RunContext, found: Iterator[list[ListedFile]], stack: contextlib.ExitStack
) -> None:
    """Classifies, proves and summarises; starts over without a part that is damaged.

    Args:
        context: the run.
        found: the images found.
        stack: as of `start`.
    """
    while True:
        try:
            _work_once(context, found)
        except PartError as error:
            if not set_aside(context.results.parts, error.part):
                raise
            context.remark(
                f"The part {error.part.name} was damaged: it was set aside, and its images "
                "were classified anew."
            )
            if str(context.options.from_file) == "-":
                raise OutputError(
                    f"the part {error.part} was damaged and is set aside; run again, for the "
                    "list on the standard input cannot be read twice."
                ) from error
            if context.worker is not None:
                context.worker.close()
            found = _start(context, stack)
        else:
            return


def _work_once(context: RunContext, found: Iterator[list[ListedFile]]) -> None:
    results = context.results
    results.supersede()
    row_index = RowIndex(results.parts, context.summary.model, context.summary.run)
    row_index.read()
    last_part = row_index.last_part
    noted = _classify(context, found, row_index)
    left_out = context.selection.left_out
    context.note(
        other_files=dict(sorted(left_out.other_files.items())),
        system_folders=dict(sorted(left_out.system_folders.items())),
    )
    if context.worker is not None:
        context.worker.close()  # what follows needs its memory more
    row_index.read()
    proved = proof.prove(plan.current(noted, row_index), row_index, last_part)
    del noted
    context.summary = proved.counted(context.summary)
    _require_complete(context)
    if results.shard is not None:
        _leave_to_merge(context, proved)
    else:
        _publish(context, proved, row_index)


def _leave_to_merge(context: RunContext, proved: proof.Proof) -> None:
    """Ends the run of a shard."""
    settings = shard_manifest.RunSettings.of(
        context.options,
        context.model.card,
        context.svm,
        context.summary.min_confidence,
        context.summary.max_novelty,
    )
    manifest = shard_manifest.ShardManifest(settings, context.selection.listing, proved.digest)
    shard_manifest.write_manifest(context.results, proved.masks, manifest)
    context.close(0)
    context.write_summary()


def _publish(context: RunContext, proved: proof.Proof, row_index: RowIndex) -> None:
    """Writes tables, manifest, page and summary, in this order, and merges parts."""
    results, options, card = context.results, context.options, context.model.card
    with context.stages.working("tables"):
        features = options.features and options.parquet
        reviewed, remarks = read_reviewed(results)
        context.remark(*remarks)
        columns = predictions.required_columns(card, context.svm, features, reviewed)
        tables = predictions.build_tables(
            results.parts.read_masked(proved.masks, columns),
            card,
            new_runs=results.new_runs(context.summary),
            top=options.top,
            svm=context.svm,
            min_confidence=context.summary.min_confidence,
            max_novelty=context.summary.max_novelty,
            parquet=options.parquet,
            features=features,
            scratch_folder=results.out,
            reviewed=reviewed,
        )
        summary = published_tables.write_tables(results, tables, context.summary, options.xlsx)
    summary = proof.count_labels(summary, tables, results)
    if context.wants_features:
        summary = with_new_features(results, summary, [proved.masks])
    summary = mark_unusual(summary, results.history(summary))
    context.summary = proof.set_exit_code(summary, options.max_failures, options.fail_on_unusual)
    context.close(context.summary.exit_code)
    results.write_current(tables.predictions, context.summary)
    run_challenger(context, proved)
    context.report(tables)
    context.write_summary()
    # Mere housekeeping: the next run tries again.
    with contextlib.suppress(BoatinferError, OSError):
        compact(
            row_index,
            None if options.restrictions else proved.masks,
            on_written=lambda: results.write_current(tables.predictions, context.summary),
        )


def _require_complete(context: RunContext) -> None:
    summary = context.summary
    if context.stop.signal_number:
        raise RunInterruptedError(
            f"interrupted; {summary.classified + summary.reused:,} of "
            f"{counted(summary.found, 'image')} are done, and the next run continues from "
            "there.",
            context.stop.signal_number,
        )
    if not summary.complete:
        raise BoatinferError(
            f"the rows in {context.results.out} do not account for every image found, see "
            "run.json; run again, and report it if it stays so."
        )


def _classify(
    context: RunContext, found: Iterator[list[ListedFile]], row_index: RowIndex
) -> KeyedArrays:
    """Classifies images and records them in parts; after a signal, those it has begun.

    Args:
        context: the run.
        found: the images found, chunk by chunk.
        row_index: what the parts say.

    Returns:
        `plan.DueFiles.found`: what was found, and what of it was due.
    """
    options, parts = context.options, context.results.parts
    known, marks = plan.reusable(row_index, context.wants_features, options.lenient, options.fresh)
    due_files = plan.DueFiles(known, parts.folder, plan.dangerous(row_index))
    contents = ContentIndex(parts, marks)
    context.failures = FailureIndex.of(row_index)
    started = time.monotonic()
    # What is due is found in a thread that is ahead of the work, so that its end can be told.
    with parallel_unordered(_as_it_is, due_files.due(found), 1, ahead=LISTED_AHEAD) as due:
        done = _engine(options)(context, due, due_files, contents)
    if done:
        context.note(images_per_second=round(done / (time.monotonic() - started), 1))
    return due_files.found


def _as_it_is(chunk: list[ListedFile]) -> list[ListedFile]:
    return chunk


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
        title=options.title,
        language=resolved(options.language),
        link_prefix=options.link_prefix,
        gallery=options.gallery,
    )
