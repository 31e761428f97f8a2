"""A property list of launchd, which starts jobs on macOS."""

from __future__ import annotations

import plistlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boatinfer.night.job import Job, call, owned_by
from boatinfer.night.keys import DAYS
from boatinfer.storage.files import atomic_write, translate_write_errors

__all__ = ["files", "install", "uninstall"]


def files(job: Job) -> dict[Path, str]:
    """The list, by the file that it belongs in."""
    return {_file(job): plistlib.dumps(_job(job), sort_keys=False).decode()}


def install(job: Job) -> Iterator[str]:
    """Writes the list and loads it.

    Yields:
        Sentences on what was done.

    Raises:
        BoatinferError: something was refused.
    """
    ((file, text),) = files(job).items()
    if owned_by(file, job):
        call(["launchctl", "unload", str(file)], check=False)
    with translate_write_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    yield f"written: {file}"
    call(["launchctl", "load", "-w", str(file)])
    yield f"loaded: {job.name}"


def uninstall(job: Job) -> Iterator[str]:
    """Unloads and removes the list.

    Yields:
        Sentences on what was done; none if there was nothing.

    Raises:
        BoatinferError: something was refused.
    """
    file = _file(job)
    if owned_by(file, job):
        call(["launchctl", "unload", "-w", str(file)], check=False)
        with translate_write_errors(file):
            file.unlink()
        yield f"removed: {file}"


def _file(job: Job) -> Path:
    folder = Path("/Library/LaunchDaemons") if job.system else Path.home() / "Library/LaunchAgents"
    return folder / f"{job.name}.plist"


def _job(job: Job) -> dict[str, Any]:
    hour, minute = (int(part) for part in job.schedule.at.split(":"))
    time = {"Hour": hour, "Minute": minute}
    weekdays = [] if job.daily else [DAYS.index(day) + 1 for day in job.schedule.days]
    logs = Path("/Library/Logs") if job.system else Path.home() / "Library/Logs"
    return {
        "Label": job.name,
        "ProgramArguments": job.command,
        "WorkingDirectory": str(job.night.file.parent),
        "StartCalendarInterval": [{**time, "Weekday": day} for day in weekdays] or time,
        "Nice": job.schedule.nice,
        "ProcessType": "Background",
        "ExitTimeOut": job.stop_seconds,
        "StandardOutPath": str(logs / f"{job.name}.log"),
        "StandardErrorPath": str(logs / f"{job.name}.log"),
        "EnvironmentVariables": {"PYTHONUTF8": "1"},
        **({"UserName": job.user} if job.user is not None else {}),
        "Comment": job.mark,
    }
