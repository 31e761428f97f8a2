"""Examines the machine: versions, clock, limits, the folder for temporary files."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from boatinfer.cpus import usable_cpus
from boatinfer.doctor.findings import Finding, Level
from boatinfer.errors import OutputError
from boatinfer.memory import format_size, usable_memory
from boatinfer.storage.files import temporary_folder
from boatinfer.text import counted, duration
from boatinfer.versions import versions

__all__ = ["clock", "examine_machine"]

#: Open files that a run needs, and that leave room.
_FEW_FILES, _ENOUGH_FILES = 64, 256
#: Bytes for temporary files likewise.
_LITTLE_ROOM, _ENOUGH_ROOM = 32 << 20, 512 << 20
#: A clock may be behind another machine's by so much.
_BEHIND = timedelta(minutes=5)
#: Seconds that ``timedatectl`` may take.
_SECONDS = 3.0


def examine_machine() -> Iterator[Finding]:
    """Looks at what all folders share but for the clock."""
    yield _versions()
    yield _processor()
    yield _descriptors()
    yield _temporary()


def _versions() -> Finding:
    said = ", ".join(f"{name} {version}" for name, version in versions().items())
    return Finding(check="versions", text=said)


def _processor() -> Finding:
    cpus, memory = usable_cpus(), usable_memory()
    text = f"{platform.system()} {platform.machine()}, {counted(cpus, 'CPU')}, memory of "
    figures = {"cpus": float(cpus), "memory_bytes": float(memory)}
    return Finding(check="machine", text=text + format_size(memory), figures=figures)


def _descriptors() -> Finding:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return Finding(check="open files", text="no limit")
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return Finding(check="open files", text="no limit")
    level = Level.FAULT if soft < _FEW_FILES else Level.WARNING
    level = Level.OK if soft >= _ENOUGH_FILES else level
    advice = f"raise it to {_ENOUGH_FILES} or more, with ulimit -n or LimitNOFILE="
    return Finding(
        check="open files",
        level=level,
        text=f"a process may have {soft:,}",
        advice=None if level is Level.OK else advice,
        figures={"limit": float(soft)},
    )


def _temporary() -> Finding:
    check = "temporary files"
    try:
        folder = temporary_folder()
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except (OSError, OutputError):
        return Finding(
            check=check,
            level=Level.FAULT,
            text="cannot be written",
            advice="make room, or set TMPDIR to a folder with room",
            detail=tempfile.tempdir,
        )
    free = shutil.disk_usage(folder).free
    level = Level.FAULT if free < _LITTLE_ROOM else Level.WARNING
    level = Level.OK if free >= _ENOUGH_ROOM else level
    in_memory = _file_system(folder) == "tmpfs"
    return Finding(
        check=check,
        level=level,
        text=f"{format_size(free)} free{', in memory (tmpfs)' if in_memory else ''}",
        advice=None if level is Level.OK else "make room, or set TMPDIR to a folder with room",
        figures={"free_bytes": float(free)},
        detail=str(folder),
    )


def _file_system(folder: Path) -> str | None:
    """The kind of the file system of a folder, where Linux says it."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    mounts = {fields[1]: fields[2] for fields in map(str.split, lines)}
    resolved = folder.resolve()
    return next((mounts[str(p)] for p in (resolved, *resolved.parents) if str(p) in mounts), None)


def clock(now: datetime, moments: Iterable[datetime]) -> Finding:
    """Compares the clock with what was written before.

    Args:
        now: the time.
        moments: when runs began and files were written, UTC.
    """
    zone = now.astimezone()
    text = f"{zone:%Y-%m-%d %H:%M}, UTC{zone.isoformat()[-6:]}"
    newest = max(moments, default=now)
    if now < newest - _BEHIND:
        return Finding(
            check="clock",
            level=Level.FAULT,
            text=f"{text}, which is {duration((newest - now).total_seconds())} before the newest "
            "run",
            advice="set the clock; a night that begins before the one before it is taken for older",
            figures={"behind_seconds": (newest - now).total_seconds()},
        )
    synchronised = _synchronised()
    if synchronised is False:
        return Finding(
            check="clock",
            level=Level.WARNING,
            text=f"{text}, not synchronised",
            advice="turn it on, with timedatectl set-ntp true",
        )
    return Finding(check="clock", text=f"{text}{', synchronised' if synchronised else ''}")


def _synchronised() -> bool | None:
    """Whether the clock is set by a time server; None if the system does not say."""
    try:
        said = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return {"yes": True, "no": False}.get(said)


def started(run: str) -> datetime | None:
    """When a run began, by its id."""
    try:
        moment = datetime.strptime(run.partition("-")[0], "%Y%m%dT%H%M%S.%f%z")
    except ValueError:
        return None
    return moment.astimezone(UTC)
