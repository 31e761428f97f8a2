"""When a night is due."""

from __future__ import annotations

from datetime import datetime, timedelta

from boatinfer.night.config import Schedule
from boatinfer.night.keys import DAYS

__all__ = ["last_due", "next_due"]


def next_due(schedule: Schedule, now: datetime) -> datetime:
    """The next start after a moment, in the time zone of this machine."""
    return next(due for day in range(9) if (due := _due(schedule, now, day)) and due > now)


def last_due(schedule: Schedule, now: datetime) -> datetime:
    """The last start that was due until a moment, in the time zone of this machine."""
    return next(due for day in range(9) if (due := _due(schedule, now, -day)) and due <= now)


def _due(schedule: Schedule, now: datetime, days: int) -> datetime | None:
    """The start on the day so many days later; None if there is none on it."""
    day = now.astimezone().date() + timedelta(days)
    if DAYS[day.weekday()] not in schedule.days:
        return None
    at = datetime.strptime(schedule.at, "%H:%M").time()
    return datetime.combine(day, at).astimezone()  # a local time, by the zone's rules of that day
