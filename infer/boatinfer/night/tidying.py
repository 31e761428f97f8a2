"""Prunes after a night, in a process of its own: what goes wrong there is a remark."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from boatinfer.night.command import prune_command
from boatinfer.night.config import Night
from boatinfer.signals import Stop

__all__ = ["prune_after"]

#: Seconds between two looks at signals.
_LOOK_SECONDS = 0.2
#: What the sentences begin with that a command ends with.
_OURS = "boatinfer: "


def prune_after(night: Night, names: Iterable[str], stop: Stop) -> list[str]:
    """Removes what ``[keep]`` does not keep; a signal ends that, and the next night goes on.

    Args:
        night: what a night is; without ``[keep]`` nothing is done.
        names: the folders that were run.
        stop: set by a signal.

    Returns:
        Sentences on what went wrong.
    """
    if night.keep is None or stop.signal_number:
        return []
    process = subprocess.Popen(
        prune_command(night.file, names),
        cwd=night.file.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    while True:
        try:
            said = process.communicate(timeout=_LOOK_SECONDS)[1]
        except subprocess.TimeoutExpired:
            if stop.signal_number:
                process.terminate()
        except BaseException:  # a second Ctrl-C
            process.kill()
            raise
        else:
            break
    if not process.returncode or stop.signal_number:
        return []
    lines = [line.removeprefix(_OURS) for line in said.splitlines() if line.startswith(_OURS)]
    return [
        f"old files were not removed: {line}" for line in lines or [f"exit {process.returncode}"]
    ]
