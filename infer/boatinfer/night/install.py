"""Has the system start the nights: by systemd, cron, launchd or the Windows Task Scheduler."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from boatinfer.errors import UsageError
from boatinfer.night import cron, launchd, systemd, windows
from boatinfer.night.config import Night
from boatinfer.night.job import Job
from boatinfer.night.notify.secrets import environment_names
from boatinfer.night.problems import find_night_problems, find_problem
from boatinfer.night.schedulers import Scheduler
from boatinfer.text import joined

__all__ = ["files", "install", "uninstall"]

_MODULES: dict[Scheduler, ModuleType] = {
    Scheduler.SYSTEMD: systemd,
    Scheduler.CRON: cron,
    Scheduler.LAUNCHD: launchd,
    Scheduler.WINDOWS: windows,
}


def files(night: Night, scheduler: Scheduler, name: str, system: bool) -> dict[Path, str]:
    """What `install` writes, by where it belongs.

    Raises:
        UsageError: the file has no schedule.
    """
    said: dict[Path, str] = _MODULES[scheduler].files(_job(night, name, system))
    return said


def install(night: Night, scheduler: Scheduler, name: str, system: bool) -> Iterator[str]:
    """Has the nights started; once more to change what was installed.

    Yields:
        Sentences on what was done, and on what would keep a folder from being run.

    Raises:
        BoatinferError: something was refused.
    """
    job = _job(night, name, system)
    yield from _MODULES[scheduler].install(job)
    for folder in night.folders:
        problem = find_problem(folder)
        if problem is not None:
            yield f"{folder.name} cannot be run yet: {problem}"
    yield from (f"this is not told yet: {problem}" for problem in find_night_problems(night))
    names = {name for target in night.targets for name in environment_names(target)}
    if names:
        yield (
            f"{scheduler} must give the job {joined(sorted(names))}, the environment of [notify]; "
            "or write file: and the name of a file."
        )


def uninstall(night: Night, scheduler: Scheduler, name: str, system: bool) -> list[str]:
    """Removes what `install` has written; results stay.

    Raises:
        UsageError: there was nothing.
        BoatinferError: something was refused.
    """
    done = list(_MODULES[scheduler].uninstall(_job(night, name, system)))
    if not done:
        raise UsageError(
            f"{scheduler} has no {name} of {night.file}; check --name, --system and --scheduler."
        )
    return done


def _job(night: Night, name: str, system: bool) -> Job:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UsageError(f"--name {name}: use letters, digits, and _ . - after the first.")
    return Job.of(night, name, system)
