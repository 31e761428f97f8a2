"""Whether anything of this machine starts a night."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from boatinfer.errors import BoatinferError
from boatinfer.night import systemd
from boatinfer.night.config import Night
from boatinfer.night.job import MARK, call

__all__ = ["NOT_INSTALLED", "is_installed"]

#: What is said of a night that nothing starts, as far as can be seen.
NOT_INSTALLED = "not installed: nothing starts this night; run 'boatinfer night install'"


def is_installed(night: Night) -> bool | None:
    """Whether there is a timer, a line of cron, a property list or a task for a file.

    Another scheduler, such as that of a cluster or of containers, cannot be seen.

    Args:
        night: what a night is.

    Returns:
        None if the file has no schedule.
    """
    if night.schedule is None:
        return None
    name = re.escape(str(night.file))
    mark = re.compile(rf"{re.escape(MARK)}{name}(?=[\s<]|$)")
    if any(mark.search(text) for text in _jobs()):
        return True
    names = f"{name}|{re.escape(shlex.quote(str(night.file)))}"
    line = re.compile(rf"(?m)^\s*[^#\s].*(?:{names})(?=\s|$)")  # one written by hand, too
    return any(line.search(text.replace("\\%", "%")) for text in _crontabs())


def _jobs() -> Iterator[str]:
    if sys.platform == "win32":
        yield _said("schtasks", "/Query", "/XML")
        return
    folders = [systemd.folder_of(system) for system in (True, False)]
    yield from (text for folder in folders for text in _texts(folder, "*.timer"))
    if sys.platform == "darwin":
        for folder in (Path("/Library/LaunchDaemons"), Path.home() / "Library/LaunchAgents"):
            yield from _texts(folder, "*.plist")


def _crontabs() -> Iterator[str]:
    if sys.platform != "win32":
        yield _said("crontab", "-l")
        yield from _texts(Path("/etc"), "crontab")
        yield from _texts(Path("/etc/cron.d"), "*")


def _said(*command: str) -> str:
    with contextlib.suppress(BoatinferError, OSError):
        return call(command, check=False)
    return ""


def _texts(folder: Path, names: str) -> Iterator[str]:
    """The files that can be read."""
    with contextlib.suppress(OSError):
        for file in sorted(folder.glob(names)):
            with contextlib.suppress(OSError):
                yield file.read_text(encoding="utf-8", errors="replace")
