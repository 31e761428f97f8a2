"""What can start the nights of a system."""

from __future__ import annotations

import enum
import sys
from pathlib import Path

__all__ = ["NAME", "Scheduler"]

#: Default name of the job.
NAME = "boatinfer-night"


class Scheduler(enum.StrEnum):
    """What starts the nights."""

    SYSTEMD = "systemd"
    CRON = "cron"
    LAUNCHD = "launchd"
    WINDOWS = "windows"

    @classmethod
    def of_this_machine(cls) -> Scheduler:
        """The usual one here; cron where there is no systemd."""
        if sys.platform == "darwin":
            return cls.LAUNCHD
        if sys.platform == "win32":
            return cls.WINDOWS
        return cls.SYSTEMD if Path("/run/systemd/system").is_dir() else cls.CRON
