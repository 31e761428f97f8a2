"""The first sentence of the page of a run."""

from __future__ import annotations

from datetime import datetime, timedelta

from boatinfer.results.mix import Mix
from boatinfer.results.summary import Summary
from boatinfer.results.tables.predictions import UNSURE
from boatinfer.text import counted

__all__ = ["first_sentence", "problems", "time_of_day", "unsure"]

#: Hours at which the morning, the afternoon, the evening and the night begin.
_MORNING, _AFTERNOON, _EVENING, _NIGHT = 5, 12, 18, 21


def first_sentence(summary: Summary) -> str:
    """What came in, in words: ``Tuesday night: 624 new images, 0 problems, 7 to check.``."""
    new = summary.new or Mix()
    parts = [counted(new.found, "new image"), counted(problems(summary), "problem")]
    if summary.min_confidence is not None:
        parts.append(f"{unsure(summary):,} to check")
    return f"{time_of_day(summary.started)}: {', '.join(parts)}."


def problems(summary: Summary) -> int:
    """Number of new images that failed, and of folders that could not be listed."""
    return max((summary.new or Mix()).failed, summary.unlisted)


def unsure(summary: Summary) -> int:
    """Number of new images below the abstention threshold."""
    return (summary.new or Mix()).labels.get(UNSURE, 0)


def time_of_day(started: str) -> str:
    """The day and time of day at which a run started, local time, as ``Tuesday night``."""
    start = datetime.fromisoformat(started).astimezone()
    if start.hour < _MORNING:  # of the night that began the day before
        start -= timedelta(days=1)
        return f"{start:%A} night"
    names = {_NIGHT: "night", _EVENING: "evening", _AFTERNOON: "afternoon", _MORNING: "morning"}
    return f"{start:%A} {next(name for hour, name in names.items() if start.hour >= hour)}"
