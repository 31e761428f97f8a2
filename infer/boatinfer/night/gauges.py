"""The figures of the nights for Prometheus; the names follow its practices.

From the start of a night on the figures are those of this night: a folder that is being run, or
whose night was killed, has the exit code -1 and nothing that looks well.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from boatinfer.errors import BoatinferError
from boatinfer.night.config import Folder, Night
from boatinfer.night.metrics import Metrics, require_client, written_metrics
from boatinfer.night.record import FolderResult, NightResult, Record
from boatinfer.results.summary import Summary, read_summary
from boatinfer.results.unreviewed import Unreviewed, find_unreviewed
from boatinfer.storage.base import Place
from boatinfer.storage.connections import s3_endpoint

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["write_metrics"]

#: Exit code of what goes on, or did not come to its end.
_NOT_ENDED = -1


def write_metrics(
    night: Night, record: Record, folders: Sequence[Folder], metrics: Metrics
) -> None:
    """Writes the figures of all folders, each of the last night in which it was.

    Args:
        night: what a night is.
        record: the nights, the one that goes on first.
        folders: those of the night that goes on.
        metrics: where the figures go.

    Raises:
        UsageError: the client library is not installed.
        OutputError: the file cannot be written.
    """
    require_client(metrics)
    from prometheus_client import generate_latest

    gauges = _Gauges()
    now = {folder.name for folder in folders}
    for folder in night.folders:
        gauges.add(folder, record, folder.name in now)
    with written_metrics(metrics) as temporary:
        temporary.write_bytes(generate_latest(gauges.registry))


class _Gauges:
    """All gauges, empty at first."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Gauge, Info

        self.registry: CollectorRegistry = CollectorRegistry()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            labels = ("folder", *labels)
            return Gauge(f"boatinfer_{name}", text, labels, registry=self.registry)

        self.start = gauge("last_start_timestamp_seconds", "Start of the last run.")
        self.end = gauge("last_end_timestamp_seconds", "End of the last run, if it has ended.")
        self.success = gauge(
            "last_success_timestamp_seconds",
            "End of the last run that ended with 0; 0 if there is none in the last nights.",
        )
        self.code = gauge(
            "last_exit_code",
            "Exit code of the last run; -1 while it goes on, and if it was killed.",
        )
        self.seconds = gauge("last_duration_seconds", "Duration of the last run.")
        self.found = gauge("found_images", "Images found by the last run.")
        self.new = gauge("new_images", "New images of the last run.")
        self.failed = gauge("failed_images", "New images of the last run that failed.")
        self.gone = gauge("gone_images", "Images that are gone since the run before.")
        self.unusual = gauge("unusual_findings", "What is unusual in the last run, counted.")
        self.speed = gauge("images_per_second", "Images that the last run read in a second.")
        self.labels = gauge("label_images", "Images by label.", "label")
        self.new_labels = gauge("new_label_images", "New images by label.", "label")
        self.unreviewed = gauge("unreviewed_images", "Images that are to be reviewed.")
        self.oldest = gauge(
            "oldest_unreviewed_timestamp_seconds",
            "When the oldest image that is to be reviewed was classified; absent if there is none.",
        )
        self.model = Info(
            "boatinfer_model", "Model of the last run.", ("folder",), registry=self.registry
        )

    def add(self, folder: Folder, record: Record, in_night: bool) -> None:
        """Sets the figures of a folder.

        Args:
            folder: the folder.
            record: the nights.
            in_night: whether the first night of the record is to run it.
        """
        name = folder.name
        self.success.labels(name).set(_last_success(name, record.nights))
        last = record.last(name)
        if in_night and (last is None or last[0] is not record.nights[0]):
            self._pending(name, record.nights[0])
        elif last is not None:
            self._result(folder, last[0], last[1])

    def _pending(self, name: str, night: NightResult) -> None:
        """A folder that the night has not come to, or whose night failed before it."""
        self.start.labels(name).set(_seconds(night.started))
        self.code.labels(name).set(_NOT_ENDED if night.exit_code is None else night.exit_code)
        if night.finished is not None:
            self.end.labels(name).set(_seconds(night.finished))

    def _result(self, folder: Folder, night: NightResult, result: FolderResult) -> None:
        name = folder.name
        self.start.labels(name).set(_seconds(result.started or night.started))
        self.code.labels(name).set(_NOT_ENDED if result.exit_code is None else result.exit_code)
        if result.started is None:
            return
        self.end.labels(name).set(_end(result))
        self.seconds.labels(name).set(result.seconds or 0)
        if result.run is None:
            return
        for gauge, number in (
            (self.found, result.found),
            (self.new, result.new),
            (self.failed, result.failed),
            (self.gone, result.gone),
            (self.unusual, len(result.unusual)),
        ):
            gauge.labels(name).set(number)
        with s3_endpoint(folder.options.endpoint):
            details = _details(folder.out, result.run)  # type: ignore[arg-type]
        if details is not None:
            self._summary(name, details.summary)
            self._unreviewed(name, details.unreviewed)

    def _summary(self, name: str, summary: Summary) -> None:
        if summary.images_per_second is not None:
            self.speed.labels(name).set(summary.images_per_second)
        for label, number in summary.labels.items():
            self.labels.labels(name, label).set(number)
        for label, number in (summary.new.labels if summary.new else {}).items():
            self.new_labels.labels(name, label).set(number)
        if summary.model:
            self.model.labels(name).info({"name": summary.model_name, "sha256": summary.model})

    def _unreviewed(self, name: str, unreviewed: Unreviewed) -> None:
        self.unreviewed.labels(name).set(unreviewed.images)
        if unreviewed.since is not None:
            self.oldest.labels(name).set(_seconds(unreviewed.since))


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _end(result: FolderResult) -> float:
    assert result.started is not None
    end = datetime.fromisoformat(result.started) + timedelta(seconds=result.seconds or 0)
    return end.timestamp()


def _last_success(name: str, nights: Iterable[NightResult]) -> float:
    for night in nights:
        for result in night.folders:
            if result.name == name and result.exit_code == 0 and result.started:
                return _end(result)
    return 0.0


class _Details(NamedTuple):
    """What is in the results folder of a run alone."""

    summary: Summary
    unreviewed: Unreviewed


@functools.lru_cache(maxsize=256)
def _details(out: Place, run: str) -> _Details | None:
    """Reads what a run has left; None if another has replaced it, or it cannot be read."""
    try:
        summary = read_summary(out / "run.json")
        if summary is None or summary.run != run:
            return None
        return _Details(summary, find_unreviewed(out))
    except (BoatinferError, OSError):
        return None
