"""One run, as all its steps see it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from boatinfer.errors import BoatinferError
from boatinfer.isolation.supervisor import Supervisor
from boatinfer.models.model import ModelInfo
from boatinfer.models.svm import SVM
from boatinfer.pages import report
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.progress import Progress
from boatinfer.pipeline.selection import Selection
from boatinfer.pipeline.timings import Stages
from boatinfer.results.folder import Results
from boatinfer.results.store.duplicates import ContentIndex
from boatinfer.results.store.failures import FailureIndex
from boatinfer.results.store.rows import Row
from boatinfer.results.summary import Summary
from boatinfer.results.tables import predictions
from boatinfer.signals import Stop
from boatinfer.storage.base import Place
from boatinfer.storage.listing import ListedFile
from boatinfer.text import to_text

__all__ = ["RunContext"]


@dataclass
class RunContext:
    """One run: its options, what it works with, and its summary as it comes about.

    Attributes:
        options: what to do.
        folder: where the images are.
        results: where the rows go.
        summary: what ``run.json`` would hold now.
        stop: set by a signal.
        progress: called as images are done.
        started: seconds of the monotonic clock.
        stages: counts the seconds of each.
        selection: which images, once the listing has begun.
        model: the open model.
        worker: supervises the process in which it is open; None where this process does the
            work itself, or a cluster.
        svm: the SVM beside it; None where there is none.
        failures: the images that failed before.
    """

    options: RunOptions
    folder: Place
    results: Results
    summary: Summary
    stop: Stop
    progress: Callable[[Progress], None]
    started: float = field(default_factory=time.monotonic)
    stages: Stages = field(default_factory=Stages)
    selection: Selection = field(init=False)
    model: ModelInfo = field(init=False)
    worker: Supervisor[ListedFile, Row] | None = None
    svm: SVM | None = field(init=False)
    failures: FailureIndex = field(init=False)

    @property
    def wants_features(self) -> bool:
        """Whether rows need features: to keep them, or for the SVM."""
        return self.options.features or self.options.svm is not None

    def note(self, **changes: Any) -> None:
        """Changes fields of the summary."""
        self.summary = replace(self.summary, **changes)

    def remark(self, *remarks: str) -> None:
        """Adds remarks to the summary."""
        self.note(remarks=[*self.summary.remarks, *remarks])

    def begun(self) -> None:
        """Says that the first images are being read."""
        self.write_summary()
        self.report(None)
        self.progress(Progress(None, 0, 0))

    def record(self, rows: list[Row], contents: ContentIndex) -> None:
        """Writes rows as one part; those known by their content get what they repeat."""
        with self.stages.working("record"):
            contents.fill(rows, self.wants_features)
            self.failures.fill(rows)
            model = self.model
            self.results.parts.append(rows, model.card.classes, model.digest, self.summary.run)

    def close(self, exit_code: int | None) -> None:
        """Puts the end of the run into its summary."""
        self.note(
            finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
            seconds=round(time.monotonic() - self.started, 3),
            exit_code=exit_code,
            stages={stage: round(seconds, 3) for stage, seconds in self.stages.seconds.items()},
        )

    def write_summary(self) -> None:
        """Writes ``run.json``; damaged summaries of earlier runs are set aside."""
        self.remark(*self.results.set_aside_damaged())
        self.results.write_summary(self.summary)

    def report(self, tables: predictions.Tables | None) -> None:
        """Writes the page; that of a shard is written with those of the others."""
        if self.results.shard is None:
            self.results.parts.check()
            report.write(self.results, self.summary, tables, self.options.report)

    @contextlib.contextmanager
    def record_failure(self) -> Iterator[None]:
        """Leaves word, in run.json and on the page, of a run that does not come to its end."""
        try:
            yield
        except Exception as error:
            self.note(complete=False, error=to_text(str(error)))
            self.close(getattr(error, "exit_code", BoatinferError.exit_code))
            with contextlib.suppress(BoatinferError):  # the error itself says more
                self.write_summary()
                self.report(None)
            raise
