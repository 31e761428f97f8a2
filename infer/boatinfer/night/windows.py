"""A task of the Windows Task Scheduler."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from boatinfer.errors import UsageError
from boatinfer.night.job import Job, call
from boatinfer.storage.files import temporary_folder

__all__ = ["files", "install", "uninstall"]

_NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
_WEEKDAYS = {
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}


def files(job: Job) -> dict[Path, str]:
    """The task, by the file that 'schtasks /Create /XML' may read it from."""
    return {Path(f"{job.name}.xml"): _task(job)}


def install(job: Job) -> Iterator[str]:
    """Creates the task, or replaces it.

    Yields:
        Sentences on what was done.

    Raises:
        BoatinferError: something was refused.
    """
    _ours(job)
    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder:
        file = Path(folder) / f"{job.name}.xml"
        file.write_text(_task(job), encoding="utf-16")
        call(["schtasks", "/Create", "/TN", job.name, "/XML", str(file), "/F"])
    yield f"created: the task {job.name}"


def uninstall(job: Job) -> Iterator[str]:
    """Deletes the task.

    Yields:
        Sentences on what was done; none if there was nothing.

    Raises:
        BoatinferError: something was refused.
    """
    if _ours(job):
        call(["schtasks", "/Delete", "/TN", job.name, "/F"])
        yield f"deleted: the task {job.name}"


def _ours(job: Job) -> bool:
    """Whether there is such a task; refuses another's."""
    said = call(["schtasks", "/Query", "/TN", job.name, "/XML"], check=False)
    if said.strip() and job.mark not in said:
        raise UsageError(
            f"the task {job.name} is not of {job.night.file}; give this night another name with "
            "--name."
        )
    return bool(said.strip())


def _task(job: Job) -> str:
    task = ET.Element("Task", {"version": "1.2", "xmlns": _NAMESPACE})
    _add(task, "RegistrationInfo/Description", job.mark)
    trigger = _add(task, "Triggers/CalendarTrigger")
    _add(trigger, "StartBoundary", f"2020-01-01T{job.schedule.at}:00")
    week = _add(trigger, "ScheduleByWeek")
    _add(week, "WeeksInterval", "1")
    days = _add(week, "DaysOfWeek")
    for day in job.schedule.days:
        _add(days, _WEEKDAYS[day])
    settings = _add(task, "Settings")
    _add(settings, "MultipleInstancesPolicy", "IgnoreNew")
    _add(settings, "DisallowStartIfOnBatteries", "false")
    _add(settings, "StartWhenAvailable", "true")
    _add(settings, "ExecutionTimeLimit", "PT0S")
    _add(settings, "Priority", "8" if job.schedule.nice >= 10 else "7")
    action = _add(task, "Actions/Exec")
    program, *arguments = job.command
    _add(action, "Command", program)
    _add(action, "Arguments", subprocess.list2cmdline(arguments))
    _add(action, "WorkingDirectory", str(job.night.file.parent))
    ET.indent(task)
    return '<?xml version="1.0" encoding="UTF-16"?>\n' + ET.tostring(task, "unicode") + "\n"


def _add(parent: ET.Element, path: str, text: str | None = None) -> ET.Element:
    """Adds an element inside of another."""
    for name in path.split("/"):
        parent = ET.SubElement(parent, name)
    parent.text = text
    return parent
