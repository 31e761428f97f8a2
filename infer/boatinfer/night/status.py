"""``boatinfer night status``: how the last nights went, and when the next one starts."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from boatinfer.errors import NIGHT_MISSED, BoatinferError, OutputError
from boatinfer.night.config import Folder, Night
from boatinfer.night.earlier import known_since
from boatinfer.night.installed import is_installed
from boatinfer.night.problems import find_problem
from boatinfer.night.record import FolderResult, Record, read_record, worst
from boatinfer.night.running import lock_of
from boatinfer.night.times import last_due, next_due
from boatinfer.storage.locks import lock_holder

__all__ = ["FolderStatus", "Status", "folder_size", "night_status"]

#: A night that starts so much later than it is due is not missed: the machine was busy.
_GRACE = timedelta(minutes=15)


class FolderStatus(msgspec.Struct, kw_only=True, frozen=True):
    """The state of a folder.

    Attributes:
        name: of the folder.
        out: its results folder.
        last: what the last night in which it was came to; None if there was none.
        problem: what would keep the next night from it, as far as can be seen.
        problem_code: exit code of the next night if the results may not be written, else 0.
        disk_bytes: what the results take; None in a bucket.
    """

    name: str
    out: str
    last: FolderResult | None = None
    problem: str | None = None
    problem_code: int = 0
    disk_bytes: int | None = None


class Status(msgspec.Struct, kw_only=True, frozen=True):
    """The state of a night's file.

    Attributes:
        config: the file.
        folders: in their order.
        started: when the last night started; None if there was none.
        finished: when it ended; None while it goes on, and if it was killed.
        holder: the process of the night that goes on; None if none does.
        killed: whether the last night did not come to its end.
        next: when the next is due; None if the file has no schedule.
        installed: whether the system starts it, as far as can be seen; None without a schedule.
        missed: when one was due that did not start.
        disk_free: bytes that are free where the page is.
        earlier: what the last night told of those before it, in sentences.
        remarks: whom it could not tell, in sentences.
        exit_code: for monitoring: 10 if a night was missed, 1 if the last was killed, else that
            of the worst folder in its last night, or 7 if results may not be written, 0 if all is
            well.
    """

    config: str
    folders: list[FolderStatus]
    started: str | None = None
    finished: str | None = None
    holder: str | None = None
    killed: bool = False
    next: str | None = None
    installed: bool | None = None
    missed: str | None = None
    disk_free: int = 0
    earlier: list[str] = []
    remarks: list[str] = []
    exit_code: int = 0


def night_status(night: Night, now: datetime | None = None) -> Status:
    """Gathers what is known of the nights.

    Args:
        night: what a night is.
        now: the time; by default that of the clock.

    Raises:
        OutputError: the record of the nights is damaged.
    """
    now = now or datetime.now(UTC)
    holder = lock_holder(lock_of(night))  # first, since a night may end meanwhile
    record = read_record(night)
    last = record.nights[0] if record.nights else None
    killed = last is not None and last.finished is None and holder is None
    missed = None if holder else _missed(night, record, now)
    folders = [_folder(folder, record) for folder in night.folders]
    return Status(
        config=str(night.file),
        folders=folders,
        started=last.started if last else None,
        finished=last.finished if last else None,
        holder=holder,
        killed=killed,
        next=_text(next_due(night.schedule, now)) if night.schedule else None,
        installed=is_installed(night),
        missed=_text(missed) if missed else None,
        disk_free=shutil.disk_usage(night.index.parent).free,
        earlier=last.earlier if last else [],
        remarks=last.remarks if last else [],
        exit_code=_exit_code(folders, killed, missed is not None),
    )


def _exit_code(folders: list[FolderStatus], killed: bool, missed: bool) -> int:
    if missed:
        return NIGHT_MISSED
    if killed:
        return BoatinferError.exit_code
    codes = [folder.last.exit_code for folder in folders if folder.last]
    return worst([*codes, *(folder.problem_code for folder in folders)])


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")


def _missed(night: Night, record: Record, now: datetime) -> datetime | None:
    """When the last night was due, if it was and has not started."""
    if night.schedule is None:
        return None
    due = last_due(night.schedule, now - _GRACE)
    return due if known_since(night, record) < due else None


def _folder(folder: Folder, record: Record) -> FolderStatus:
    last = record.last(folder.name)
    problem = find_problem(folder)
    return FolderStatus(
        name=folder.name,
        out=str(folder.out),
        last=last[1] if last else None,
        problem=str(problem) if problem else None,
        problem_code=problem.exit_code if isinstance(problem, OutputError) else 0,
        disk_bytes=folder_size(folder.out) if isinstance(folder.out, Path) else None,
    )


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder; 0 where there is none."""
    size = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
            except OSError:  # a run has just removed it
                continue
    return size
