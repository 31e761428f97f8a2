"""The whole examination."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from boatinfer.doctor.findings import Finding, Level, Report
from boatinfer.doctor.folders import (
    examine_disks,
    examine_folder,
    examine_night,
    newest_moments,
)
from boatinfer.doctor.machine import clock, examine_machine
from boatinfer.doctor.speed import examine_model
from boatinfer.errors import BoatinferError, UsageError
from boatinfer.night.config import Folder, Night, read_night
from boatinfer.night.record import read_record
from boatinfer.pipeline.options import RunOptions
from boatinfer.storage.connections import s3_endpoint

__all__ = ["examine"]


def examine(file: Path | None = None, now: datetime | None = None) -> Report:
    """Looks at the machine and, if there is a file of nights, at all that these need.

    Nothing is written. Each model is opened and measured for about two seconds.

    Args:
        file: a ``night.toml``; None for the machine and the built-in model alone.
        now: the time; by default that of the clock.
    """
    return Report(findings=list(_findings(file, now or datetime.now(UTC))))


def _findings(file: Path | None, now: datetime) -> Iterator[Finding]:
    yield from _guarded(examine_machine())
    if file is None:
        yield clock(now, [])
        yield examine_model(RunOptions(Path()), "boats")
        return
    try:
        night = read_night(file)
    except UsageError as error:
        yield clock(now, [])
        said = str(error).rstrip(".")
        text = "the file of the nights cannot be used"
        yield Finding(check="night.toml", level=Level.FAULT, text=text, detail=said)
        return
    yield from _guarded(_clock(night, now))
    yield from _guarded(examine_night(night, now))
    yield from _guarded(examine_disks(night, now))
    measured: dict[tuple[object, ...], str] = {}
    for folder in night.folders:
        with s3_endpoint(folder.options.endpoint):
            yield from _guarded(examine_folder(folder, now), folder.name)
            yield from _guarded(_model(folder, measured), folder.name)


def _guarded(findings: Iterator[Finding], subject: str | None = None) -> Iterator[Finding]:
    """The findings until something cannot be looked at, and then that."""
    try:
        yield from findings
    except (BoatinferError, OSError) as error:
        text = "what follows could not be looked at"
        detail = str(error).rstrip(".")
        level = Level.FAULT
        yield Finding(check="examination", level=level, text=text, subject=subject, detail=detail)


def _clock(night: Night, now: datetime) -> Iterator[Finding]:
    yield clock(now, [*_moments(night)])


def _moments(night: Night) -> Iterator[datetime]:
    for folder in night.folders:
        # What cannot be reached is a finding of its folder.
        with (
            contextlib.suppress(BoatinferError, OSError),
            s3_endpoint(folder.options.endpoint),
        ):
            yield from newest_moments(folder)
    for one in read_record(night).nights[:1]:
        yield datetime.fromisoformat(one.started)


def _model(folder: Folder, measured: dict[tuple[object, ...], str]) -> Iterator[Finding]:
    """Examines a model, each but once."""
    options = folder.options
    key = (options.model, options.svm, options.device, options.batch_size, options.threads)
    first = measured.setdefault(key, folder.name)
    if first != folder.name:
        text = "that of another folder"
        yield Finding(check="model of", text=text, subject=folder.name, detail=first)
    else:
        yield examine_model(options, folder.name)
