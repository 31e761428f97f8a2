"""A night as a scheduler starts it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boatinfer.errors import OutputError, UsageError, first_line
from boatinfer.night.command import night_command
from boatinfer.night.config import Night, Schedule
from boatinfer.night.keys import DAYS
from boatinfer.night.notify.outbox import longest_seconds

__all__ = ["MARK", "Job", "call", "owned_by"]

#: Begins the line of a file of ours that names the night's file.
MARK = "boatinfer night of "


@dataclass(frozen=True)
class Job:
    """What is to be started, and when.

    Attributes:
        name: of the job.
        night: what it runs.
        schedule: when.
        system: whether it is the machine's, or of the user alone.
        user: who runs it; None for the user alone.
    """

    name: str
    night: Night
    schedule: Schedule
    system: bool = False
    user: str | None = None

    @classmethod
    def of(cls, night: Night, name: str, system: bool) -> Job:
        """Makes the job of a night; the system runs it as the owner of its file.

        Raises:
            UsageError: the file has no schedule.
        """
        if night.schedule is None:
            raise UsageError(
                f"{night.file} does not say when the night starts; add a table [schedule] with at."
            )
        return cls(name, night, night.schedule, system, _owner(night.file) if system else None)

    @property
    def command(self) -> list[str]:
        """What is started."""
        return night_command(self.night.file)

    @property
    def mark(self) -> str:
        """The line by which a file is known as that of this job."""
        return f"{MARK}{self.night.file}"

    @property
    def daily(self) -> bool:
        """Whether it starts on all days."""
        return set(self.schedule.days) == set(DAYS)

    @property
    def stop_seconds(self) -> int:
        """How long a night may take to end: two images that hang, writing, and telling others."""
        timeouts = [folder.options.image_timeout for folder in self.night.folders]
        telling = longest_seconds(self.night.notify.timeout) if self.night.targets else 0
        return int(2 * max(timeouts) + telling) + 60


def _owner(file: Path) -> str:
    try:
        return file.owner()
    except (KeyError, NotImplementedError, OSError):  # a user without a name, or no such thing
        return str(file.stat().st_uid)


def owned_by(file: Path, job: Job) -> bool:
    """Whether a file is not there, or of this job.

    Raises:
        UsageError: it is another's.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    except UnicodeError:
        text = ""
    if job.mark not in text:
        raise UsageError(
            f"{file} is not of {job.night.file}; give this night another name with --name."
        )
    return True


def call(command: Sequence[str], given: str | None = None, check: bool = True) -> str:
    """Runs a command of the system.

    Args:
        command: the command.
        given: its standard input.
        check: whether it must succeed.

    Returns:
        What it printed.

    Raises:
        UsageError: there is no such command.
        OutputError: it failed.
    """
    if shutil.which(command[0]) is None:
        raise UsageError(
            f"there is no command {command[0]} here; choose another with --scheduler, or see the "
            "files with --print."
        )
    done = subprocess.run(
        command,
        input=given,
        stdin=None if given is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=os.environ | {"LC_ALL": "C"},
    )
    if check and done.returncode:
        said = first_line(Exception(done.stderr.strip() or done.stdout.strip()))
        raise OutputError(f"'{' '.join(command)}' failed: {said}.")
    return done.stdout
