"""What went wrong with earlier nights without anybody being told: killed, or never started."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime

from boatinfer.night.config import Night
from boatinfer.night.record import Record
from boatinfer.night.times import last_due
from boatinfer.text import counted, local_time

__all__ = ["earlier_nights", "known_since"]

#: Nights that are counted at most.
_MOST = 400


def earlier_nights(night: Night, record: Record, now: datetime, whole: bool) -> list[str]:
    """Says what the night that begins is the first to tell, in sentences.

    Args:
        night: what a night is.
        record: the nights before.
        now: the time.
        whole: whether the night is of all folders: then it takes the place of the last that was
            due.
    """
    sentences = []
    killed = list(itertools.takewhile(lambda one: one.finished is None, record.nights))
    if killed:
        what = "the night that started" if len(killed) == 1 else f"{len(killed)} nights, the last"
        sentences.append(
            f"{what} {local_time(killed[0].started)} did not come to "
            f"{'its' if len(killed) == 1 else 'their'} end: killed, or the machine went off."
        )
    missed = list(_missed(night, record, now))[1:] if whole else []
    if missed:
        last = local_time(missed[0].isoformat())
        sentences.append(
            f"the night that was due {last} did not start."
            if len(missed) == 1
            else f"{counted(len(missed), 'night')} that were due did not start, the last {last}."
        )
    return sentences


def known_since(night: Night, record: Record) -> datetime:
    """When the last whole night started; before the first, when the file was written."""
    last = next((one for one in record.nights if one.whole), None)
    if last is not None:
        return datetime.fromisoformat(last.started)
    return datetime.fromtimestamp(night.file.stat().st_mtime, UTC)


def _missed(night: Night, record: Record, now: datetime) -> Iterator[datetime]:
    """The starts that were due since the last one, latest first."""
    since = known_since(night, record)
    for _ in range(_MOST if night.schedule else 0):
        assert night.schedule is not None
        now = last_due(night.schedule, now)
        if now <= since:
            return
        yield now
        now -= datetime.resolution
