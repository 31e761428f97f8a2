"""The work of a run in the threads of this process."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator

import pyarrow as pa

from boatinfer.night import plan
from boatinfer.night.batch import Classifier
from boatinfer.night.engines.pipeline import classified
from boatinfer.night.night import Night, Progress
from boatinfer.results.contents import Contents
from boatinfer.results.rows import OK, Row

__all__ = ["PART_ROWS", "PART_SECONDS", "work"]

#: A part is written when it has this many rows, or when its oldest is this many seconds
#: old: what a kill can cost.
PART_ROWS = 1024
PART_SECONDS = 30.0


def work(night: Night, due: Iterator[pa.Table], agenda: plan.Agenda, contents: Contents) -> int:
    """Does what is due in this process; gives how many images that were."""
    written = time.monotonic()
    done = failed = 0
    pending: list[Row] = []
    try:
        with _spread(night, due, contents) as rows_done:
            night.begun()
            for rows in rows_done:
                pending += rows
                done += len(rows)
                failed += sum(row.status != OK for row in rows)
                if len(pending) >= PART_ROWS or time.monotonic() - written >= PART_SECONDS:
                    recorded, pending = pending, []
                    night.record(recorded, contents)
                    written = time.monotonic()
                night.progress(Progress(agenda.total, done, failed))
    finally:  # whatever happened, what was done is kept
        if pending:
            night.record(pending, contents)
    return done


@contextlib.contextmanager
def _spread(
    night: Night, due: Iterator[pa.Table], contents: Contents
) -> Iterator[Iterator[list[Row]]]:
    """Gives the rows of what is due, in lists, as they are done in other threads."""
    size = night.model.batch_size
    batches = itertools.takewhile(lambda _: not night.stop.signal_number, plan.batches(due, size))
    classifier = Classifier(
        night.model,
        night.folder,
        size,
        features=night.wants_features,
        lenient=night.options.lenient,
        contents=contents,
        stages=night.stages,
    )
    with classified(classifier, batches, night.summary.threads or 1) as rows:
        yield rows
