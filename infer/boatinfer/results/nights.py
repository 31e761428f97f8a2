"""The nights of a results folder: the runs into it, latest first."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from boatinfer.errors import OutputError
from boatinfer.results.folder import Results
from boatinfer.results.summary import Summary, read_summary
from boatinfer.storage.base import Place
from boatinfer.storage.locations import map_concurrently
from boatinfer.text import duration, local_time, table

__all__ = ["Night", "nights", "nights_json", "nights_table"]


class Night(msgspec.Struct, frozen=True):
    """A run, as ``boatinfer results --json`` prints it; names are those of run.json.

    Attributes:
        state: ``complete``, ``incomplete`` (it ended early), ``in progress`` or ``killed``.
        new: how many of the images are new; null if that is not known.
    """

    run: str
    state: str
    started: str
    finished: str | None
    seconds: float | None
    found: int
    classified: int
    reused: int
    failed: int
    new: int | None
    gone: int | None
    unsure: int
    model: str
    model_name: str
    exit_code: int | None
    error: str | None


class _Document(msgspec.Struct, frozen=True):
    """What ``boatinfer results --json`` prints: ``complete`` is the run that the tables show."""

    folder: str | None
    complete: str | None
    nights: list[Night]


def nights(results: Results, most: int | None = None) -> list[Night]:
    """The runs into a results folder, latest first; those of shards and damaged ones are left out.

    Args:
        results: the folder.
        most: how many to read at most; None for all.
    """
    running = results.lock_holder() is not None
    files = sorted((results.out / "runs").glob("*.json"), reverse=True)
    files = [file for file in files if "-shard-" not in file.name][:most]
    summaries = map_concurrently(_summary, files, results.out)
    return [
        _night(summary, running and number == 0)
        for number, summary in enumerate(summaries)
        if summary is not None
    ]


def nights_json(results: Results) -> str:
    """All nights as JSON, and the run whose results the tables hold."""
    found = nights(results)
    complete = results.last_complete()
    last = results.last_run() or complete
    document = _Document(
        None if last is None else last.folder, None if complete is None else complete.run, found
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def nights_table(found: Sequence[Night]) -> list[str]:
    """Formats nights for a terminal."""
    names = ("started", "", "found", "classified", "reused", "failed", "new", "time")
    return table([names, *map(_cells, found)], names=2)


def _summary(file: Place) -> Summary | None:
    try:
        return read_summary(file)
    except OutputError:  # --verify names it
        return None


def _night(summary: Summary, running: bool) -> Night:
    return Night(
        run=summary.run,
        state=_state(summary, running),
        started=summary.started,
        finished=summary.finished,
        seconds=summary.seconds,
        found=summary.found,
        classified=summary.classified,
        reused=summary.reused,
        failed=summary.failed,
        new=None if summary.new is None else summary.new.found,
        gone=None if summary.gone is None else summary.gone.images,
        unsure=summary.unsure,
        model=summary.model,
        model_name=summary.model_name,
        exit_code=summary.exit_code,
        error=summary.error,
    )


def _state(summary: Summary, running: bool) -> str:
    if summary.finished is None:
        return "in progress" if running else "killed"
    return "complete" if summary.complete else "incomplete"


def _cells(night: Night) -> tuple[str, ...]:
    if night.state != "complete":  # its counts are not those of all images
        code = "" if night.exit_code is None else f", exit code {night.exit_code}"
        return (local_time(night.started), f"{night.state}{code}", *[""] * 5, _time(night))
    numbers = (night.found, night.classified, night.reused, night.failed)
    code = f"exit code {night.exit_code}" if night.exit_code else ""
    new = "" if night.new is None else f"{night.new:,}"
    return (local_time(night.started), code, *(f"{n:,}" for n in numbers), new, _time(night))


def _time(night: Night) -> str:
    return "" if night.seconds is None else duration(night.seconds)
