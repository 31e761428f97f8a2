"""Runs the folders of a night, one after the other, each in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from msgspec.structs import replace

from boatinfer.errors import BoatinferError, BusyError, OutputError
from boatinfer.night.command import run_command
from boatinfer.night.config import Folder, Night
from boatinfer.night.index_page import write_index
from boatinfer.night.problems import find_problem
from boatinfer.night.record import (
    NOT_STARTED,
    FolderResult,
    NightResult,
    Record,
    read_record,
    record_file,
    worst,
)
from boatinfer.results.summary import Summary, parsed
from boatinfer.signals import Stop, stop_on_signals
from boatinfer.storage.documents import DocumentError
from boatinfer.storage.files import temporary_folder
from boatinfer.storage.locks import hold_lock, lock_holder

__all__ = ["lock_of", "run_night"]

#: Seconds between two looks at a process and at signals.
_LOOK_SECONDS = 0.2
#: Seconds to wait for the last words of a process that has ended.
_LAST_WORDS_SECONDS = 5.0
#: What the sentence begins with that a command ends with.
_OURS = "boatinfer: "

Tell = Callable[[FolderResult], None]


def run_night(night: Night, names: Iterable[str] = (), tell: Tell = lambda _: None) -> NightResult:
    """Runs folders; one that fails, or whose process is killed, does not keep the others from it.

    SIGINT, SIGTERM and SIGHUP are passed on to the folder that is being run, which keeps what it
    has done; the others are then not started.

    Args:
        night: what a night is.
        names: of the folders to run; none for all.
        tell: called with the result of each folder.

    Returns:
        The night; its ``exit_code`` is that of the worst folder, or of the signal.

    Raises:
        UsageError: there is no folder of a name.
        BusyError: another night of the file goes on.
        OutputError: the page, or the record of the nights, cannot be written.
    """
    folders = night.chosen(names)
    with _lock(night), stop_on_signals() as stop:
        record = read_record(night)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        result = NightResult(started=now, whole=len(folders) == len(night.folders))
        _note(night, record, result)
        for folder in folders:
            told = FolderResult(name=folder.name, error=NOT_STARTED)
            if not stop.signal_number:
                told = _run_folder(folder, night, stop)
            tell(told)
            result = replace(result, folders=[*result.folders, told])
            with contextlib.suppress(OutputError):  # the next is more important; the last tells
                _note(night, record, result)
        result = replace(
            result,
            finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
            exit_code=_exit_code(result, stop),
        )
        _note(night, record, result)
        return result


def lock_of(night: Night) -> Path:
    """The file by which a night keeps others of the same page away."""
    return night.index.with_name(f".{night.index.stem}.lock")


@contextlib.contextmanager
def _lock(night: Night) -> Iterator[None]:
    lock = lock_of(night)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(lock, f"the night of {night.file}"))
        except BusyError:
            raise BusyError(
                f"a night of {night.file} goes on, in {lock_holder(lock) or 'another process'}; "
                "wait until it has ended."
            ) from None
        yield


def _note(night: Night, record: Record, result: NightResult) -> None:
    """Writes record and page."""
    now = record.beginning_with(result)
    now.write(record_file(night))
    write_index(night, now)


def _exit_code(result: NightResult, stop: Stop) -> int:
    codes = [folder.exit_code for folder in result.folders]
    interrupted = 128 + stop.signal_number
    if stop.signal_number and (None in codes or interrupted in codes):
        return interrupted
    return worst(codes)


def _run_folder(folder: Folder, night: Night, stop: Stop) -> FolderResult:
    started, clock = datetime.now(UTC), time.monotonic()
    code, printed, said = _process(run_command(folder.options), night, stop)
    result = FolderResult(
        name=folder.name,
        started=started.isoformat(timespec="milliseconds"),
        seconds=round(time.monotonic() - clock, 1),
        exit_code=code if code >= 0 else BoatinferError.exit_code,
        error=_sentence(folder, code, said),
    )
    try:
        return _with_figures(result, parsed(printed))
    except DocumentError:  # the run has not come to its end
        return result


def _with_figures(result: FolderResult, summary: Summary) -> FolderResult:
    new = summary.new
    return replace(
        result,
        run=summary.run,
        found=summary.found,
        new=new.found if new else 0,
        failed=new.failed if new else summary.failed,
        gone=summary.gone.images if summary.gone else 0,
        unusual=[unusual.text for unusual in summary.unusual],
        error=summary.error or result.error,
    )


def _sentence(folder: Folder, code: int, said: list[str]) -> str | None:
    """Why a run has not ended with 0; with file and line, if the file is to be changed."""
    if not code:
        return None
    problem = find_problem(folder)
    if problem is not None and problem.exit_code == code:
        return str(problem)
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
            return (
                f"the process was killed by {name}{hint}; what was done is kept, and the next "
                "night goes on from there."
            )
    words = [line.removeprefix(_OURS) for line in said if line.strip()]
    return words[-1] if words else f"it ended with {code}, and said nothing."


def _process(command: list[str], night: Night, stop: Stop) -> tuple[int, bytes, list[str]]:
    """Runs a command to its end; signals are passed on to it.

    Returns:
        Its exit code, negative for the signal that killed it, what it printed, and the lines of
        its standard error.
    """
    said: list[str] = []
    with tempfile.TemporaryFile(dir=temporary_folder()) as printed:
        process = subprocess.Popen(
            command,
            cwd=night.file.parent,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stderr is not None
        reader = threading.Thread(target=_gather, args=(process.stderr, said), daemon=True)
        reader.start()
        try:
            code = _wait(process, stop)
        except BaseException:  # a second Ctrl-C
            process.kill()
            raise
        reader.join(_LAST_WORDS_SECONDS)  # a process that it has started may hold the pipe
        if not reader.is_alive():
            process.stderr.close()
        if said and (code <= 0 or not said[-1].startswith(_OURS)):
            _pass_on(said[-1])  # else it is the sentence of the result
        printed.seek(0)
        return code, printed.read(), list(said)


def _wait(process: subprocess.Popen[str], stop: Stop) -> int:
    passed_on = False
    while True:
        try:
            return process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            if stop.signal_number and not passed_on:
                process.send_signal(stop.signal_number)
                passed_on = True


def _gather(lines: IO[str], said: list[str]) -> None:
    """Keeps what a process says, and passes it on but for the last line."""
    for line in lines:
        if said:
            _pass_on(said[-1])
        said.append(line.rstrip("\n"))


def _pass_on(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
