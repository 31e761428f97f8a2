"""The work of a run on this machine: in a worker process, or in this one."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator

from boatinfer.images.admission import Limits
from boatinfer.isolation.worker import Batch
from boatinfer.models.model import Model
from boatinfer.pipeline import plan
from boatinfer.pipeline.context import RunContext
from boatinfer.pipeline.engines.stages import batches_ahead
from boatinfer.pipeline.progress import Progress
from boatinfer.pipeline.worker import Classifying, Work
from boatinfer.results.store.duplicates import ContentIndex
from boatinfer.results.store.rows import OK, Row
from boatinfer.storage.listing import ListedFile
from boatinfer.text import counted

__all__ = ["PART_ROWS", "PART_SECONDS", "work"]

#: A part is written when it has this many rows, or when its oldest is this many seconds
#: old: what a kill can cost.
PART_ROWS = 1024
PART_SECONDS = 30.0


def work(
    context: RunContext,
    due: Iterator[list[ListedFile]],
    due_files: plan.DueFiles,
    contents: ContentIndex,
) -> int:
    """Does what is due in this process; gives how many images that were."""
    written = time.monotonic()
    done = failed = 0
    pending: list[Row] = []
    try:
        with _spread(context, due, due_files, contents) as rows_done:
            context.begun()
            for rows in rows_done:
                pending += rows
                done += len(rows)
                failed += sum(row.status != OK for row in rows)
                if len(pending) >= PART_ROWS or time.monotonic() - written >= PART_SECONDS:
                    recorded, pending = pending, []
                    context.record(recorded, contents)
                    written = time.monotonic()
                context.progress(Progress(due_files.total, done, failed))
    finally:  # whatever happened, what was done is kept
        if pending:
            context.record(pending, contents)
    return done


@contextlib.contextmanager
def _spread(
    context: RunContext,
    due: Iterator[list[ListedFile]],
    due_files: plan.DueFiles,
    contents: ContentIndex,
) -> Iterator[Iterator[list[Row]]]:
    """Gives the rows of what is due, in lists, as they are done elsewhere."""
    size, threads = context.model.batch_size, context.summary.threads or 1
    batches = itertools.takewhile(lambda _: not context.stop.signal_number, plan.batches(due, size))
    options = context.options
    limits = Limits(options.memory)
    work = Work(
        context.folder, threads, context.wants_features, options.lenient, contents, limits.memory
    )
    if context.worker is None:
        with _here(context, work, batches) as rows:
            yield rows
        return
    ahead = batches_ahead(context.model.device, context.folder, size, threads)
    context.worker.begin(work._replace(memory=limits.worker_memory()))
    rows = context.worker.results(
        batches,
        ahead,
        try_alone=lambda file: file.path in due_files.dangerous,
        stopped=lambda: context.stop.signal_number,
    )
    with contextlib.closing(rows):
        yield rows
    for stage, seconds in context.worker.seconds.items():
        context.stages.add(stage, seconds)
    if context.worker.replaced:
        context.remark(
            f"The worker process died or hung, and was replaced, "
            f"{counted(context.worker.replaced, 'time')}."
        )


@contextlib.contextmanager
def _here(
    context: RunContext, work: Work, batches: Iterator[list[ListedFile]]
) -> Iterator[Iterator[list[Row]]]:
    """As `_spread`, in the threads of this process."""
    assert isinstance(context.model, Model)
    service = Classifying(context.model, context.stages)
    with service.work(work, map(Batch, itertools.count(1), batches)) as done:
        yield (results for _, results, _ in done)
