"""A line of cron, where there is no systemd."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from boatinfer.errors import UsageError
from boatinfer.night.job import Job, call
from boatinfer.night.keys import DAYS

__all__ = ["files", "install", "uninstall"]

#: Where the lines of a user are edited.
_TABLE = Path("crontab -e")


def files(job: Job) -> dict[Path, str]:
    """The line, by where it belongs."""
    return {_TABLE: _line(job)}


def install(job: Job) -> Iterator[str]:
    """Adds the line to those of the user, or replaces it.

    Yields:
        Sentences on what was done.

    Raises:
        UsageError: the name is another night's, or there is no crontab.
        OutputError: crontab refused it.
    """
    if job.system:
        raise UsageError(
            "cron runs the night as the user who installs it; leave out --system, or install it "
            "as that user."
        )
    lines, _ = _others(job)
    call(["crontab", "-"], given="".join(f"{line}\n" for line in lines) + _line(job))
    yield "written: a line of crontab"
    yield "cron mails what it prints, which is nothing but errors, if MAILTO is set in crontab."


def uninstall(job: Job) -> Iterator[str]:
    """Removes the line.

    Yields:
        Sentences on what was done; none if there was nothing.

    Raises:
        BoatinferError: as of `install`.
    """
    lines, there = _others(job)
    if there:
        call(["crontab", "-"], given="".join(f"{line}\n" for line in lines))
        yield "removed: a line of crontab"


def _others(job: Job) -> tuple[list[str], bool]:
    """The lines of the user without that of the job, and whether it was there."""
    lines = call(["crontab", "-l"], check=False).splitlines()  # it fails where there are none
    end = f"# {job.name}"
    own = [line for line in lines if line.endswith(end)]
    for line in own:
        if _escaped(shlex.quote(str(job.night.file))) not in line:
            raise UsageError(
                f"the line of crontab that ends with '{end}' is not of {job.night.file}; give this "
                "night another name with --name."
            )
    return [line for line in lines if line not in own], bool(own)


def _line(job: Job) -> str:
    hour, minute = (int(part) for part in job.schedule.at.split(":"))
    days = "*" if job.daily else ",".join(str(DAYS.index(day) + 1) for day in job.schedule.days)
    command = shlex.join(["nice", "-n", str(job.schedule.nice), *job.command])
    return f"{minute} {hour} * * {days} {_escaped(command)} # {job.name}\n"


def _escaped(command: str) -> str:
    """A command in which ``%`` is no end of the line for cron."""
    return command.replace("%", "\\%")
