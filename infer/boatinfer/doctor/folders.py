"""Examines the folders of a night: rights, disk, locks, and those who are told of it."""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from boatinfer.doctor.findings import Finding, Level
from boatinfer.doctor.machine import started
from boatinfer.memory import format_size
from boatinfer.night.config import Folder, Night
from boatinfer.night.installed import NOT_INSTALLED, is_installed
from boatinfer.night.metrics import find_metrics_problem
from boatinfer.night.notify.trial import checked_targets
from boatinfer.night.problems import find_problem
from boatinfer.night.running import lock_of
from boatinfer.night.status import folder_size
from boatinfer.results.folder import Results
from boatinfer.storage.base import Place
from boatinfer.storage.locks import lock_holder
from boatinfer.text import counted, duration

__all__ = ["examine_disks", "examine_folder", "examine_night", "newest_moments"]

#: Days that the disk should last, and the least.
_ENOUGH_DAYS, _FEW_DAYS = 60.0, 3.0
#: Bytes that should be free, and the least.
_ENOUGH_ROOM, _LITTLE_ROOM = 2 << 30, 200 << 20
#: Days over which results must have grown, to tell how fast.
_LEAST_DAYS = 1.0
#: Seconds after which a run that goes on is worth a look.
_LONG = 24 * 3600.0


def newest_moments(folder: Folder) -> list[datetime]:
    """When the newest run of a folder began."""
    runs = max((file.stem for file in (folder.out / "runs").glob("*.json")), default="")
    moment = started(runs)
    return [] if moment is None else [moment]


def examine_folder(folder: Folder, now: datetime) -> Iterator[Finding]:
    """Looks at the rights of a folder and its results, and at who holds these."""
    yield _rights(folder)
    yield _lock("lock of", folder.name, Results(folder.out).lock_holder(), now)


def _rights(folder: Folder) -> Finding:
    problem, check = find_problem(folder), "rights of"
    unwritable = None if problem else _unwritable(folder.out)
    if problem is None and unwritable is None:
        text = "images can be read, results written"
        if not isinstance(folder.out, Path) or not isinstance(folder.options.folder, Path):
            text = "in a bucket, not tried"
        elif not os.access(folder.options.folder, os.R_OK | os.X_OK):
            return Finding(
                check=check,
                level=Level.FAULT,
                text="the images may not be read",
                advice="give the user of the night the right to",
                subject=folder.name,
                detail=str(folder.options.folder),
            )
        return Finding(check=check, text=text, subject=folder.name)
    return Finding(
        check=check,
        level=Level.FAULT,
        text=f"the next night would end with exit code {problem.exit_code}"
        if problem
        else "the results may not be written",
        advice=None if problem else "give the user of the night the right to write there",
        subject=folder.name,
        detail=str(problem).rstrip(".") if problem else str(unwritable),
    )


def _unwritable(out: Place) -> Path | None:
    """A folder of the results that is there and may not be written to."""
    if not isinstance(out, Path):
        return None
    folders = [out / name for name in ("", "parts", "runs", "reports", "shards")]
    return next((one for one in folders if one.is_dir() and not os.access(one, os.W_OK)), None)


def _lock(check: str, subject: str | None, holder: str | None, now: datetime) -> Finding:
    """Who holds a lock: the system frees it when its holder ends, so a holder is alive."""
    if holder is None:
        return Finding(check=check, text="free", subject=subject)
    said = re.search(r" since (\S+)$", holder)
    try:
        seconds = (now - datetime.fromisoformat(said[1])).total_seconds() if said else 0.0
    except ValueError:
        seconds = 0.0
    long = seconds > _LONG
    return Finding(
        check=check,
        level=Level.WARNING if long else Level.OK,
        text=f"held by a run that goes on, for {duration(max(seconds, 0.0))}",
        advice="see whether it still works; a night does not start beside it" if long else None,
        figures={"seconds": seconds},
        subject=subject,
        detail=holder,
    )


def examine_disks(night: Night, now: datetime) -> Iterator[Finding]:
    """Compares the room on each disk with the growth of the results on it."""
    disks: defaultdict[int, list[Folder]] = defaultdict(list)
    for folder in night.folders:
        if isinstance(folder.out, Path):
            disks[_existing(folder.out).stat().st_dev].append(folder)
    for folders in disks.values():
        yield _disk(folders, now)


def _disk(folders: list[Folder], now: datetime) -> Finding:
    places = [folder.out for folder in folders if isinstance(folder.out, Path)]
    free = shutil.disk_usage(_existing(places[0])).free
    growth = sum(_growth(place, now) for place in places)
    days = free / growth if growth else None
    level = Level.OK
    if free < _ENOUGH_ROOM or (days is not None and days < _ENOUGH_DAYS):
        level = Level.WARNING
    if free < _LITTLE_ROOM or (days is not None and days < _FEW_DAYS):
        level = Level.FAULT
    text = f"{format_size(free)} free, for results of {counted(len(folders), 'folder')}"
    figures = {"free_bytes": float(free), "growth_bytes_a_day": round(growth, 1)}
    if days is not None:
        text += f" that grow by {format_size(round(growth))} a day: {days:,.0f} days left"
        figures["days_left"] = round(days, 1)
    return Finding(
        check="disk of",
        level=level,
        text=text,
        advice=None if level is Level.OK else "make room, or see [keep] of night.toml",
        figures=figures,
        subject=folders[0].name,
        detail=str(places[0]),
    )


def _growth(out: Path, now: datetime) -> float:
    """Bytes a day by which results have grown since their first run; 0 if that is not known."""
    first = started(min((file.stem for file in (out / "runs").glob("*.json")), default=""))
    days = 0.0 if first is None else (now - first).total_seconds() / 86400
    return folder_size(out) / days if days >= _LEAST_DAYS else 0.0


def _existing(folder: Path) -> Path:
    """The folder itself or, if it is to be made, the nearest one above."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def examine_night(night: Night, now: datetime) -> Iterator[Finding]:
    """Looks at the page of all folders, the metrics, and those who are told of a night."""
    beside = night.index.parent
    good = beside.is_dir() and os.access(beside, os.W_OK)
    yield Finding(
        check="page of all folders",
        level=Level.OK if good else Level.FAULT,
        text="can be written" if good else "cannot be written",
        advice=None if good else "give another index, or the user of the night the right",
        detail=str(night.index),
    )
    installed = is_installed(night)
    if installed is not None:
        yield Finding(
            check="schedule",
            level=Level.OK if installed else Level.WARNING,
            text="installed" if installed else NOT_INSTALLED,
        )
    yield _lock("night", None, lock_holder(lock_of(night)), now)
    if night.metrics is not None:
        problem = find_metrics_problem(night.metrics)
        yield Finding(
            check="metrics",
            level=Level.FAULT if problem else Level.OK,
            text="cannot be written" if problem else "can be written",
            detail=str(problem).rstrip(".") if problem else str(night.metrics.file),
        )
    for target, error in checked_targets(night):
        yield Finding(
            check="notify",
            level=Level.FAULT if error else Level.OK,
            text="the address cannot be used" if error else "the address can be used",
            advice=None if error else "'boatinfer night notify --test' sends a message",
            subject=target.name,
            detail=str(error).rstrip(".") if error else None,
        )
