"""Runs the folders of a night, one after the other or several at a time."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace as with_values
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from boatinfer.cpus import usable_cpus
from boatinfer.errors import BusyError, OutputError
from boatinfer.memory import SMALLEST_LIMIT, free_memory
from boatinfer.night.config import Folder, Night
from boatinfer.night.earlier import earlier_nights
from boatinfer.night.index_page import write_index
from boatinfer.night.process import FolderProcess
from boatinfer.night.record import (
    NOT_STARTED,
    FolderResult,
    NightResult,
    Record,
    read_record,
    record_file,
    worst,
)
from boatinfer.night.reporting import Reporter
from boatinfer.night.tidying import prune_after
from boatinfer.signals import Stop, stop_on_signals
from boatinfer.storage.locks import hold_lock, lock_holder

__all__ = ["lock_of", "run_night"]

#: Seconds between two looks at a process and at signals.
_LOOK_SECONDS = 0.2

Clock = Callable[[], datetime]
Tell = Callable[[FolderResult], None]


def run_night(
    night: Night,
    names: Iterable[str] = (),
    tell: Tell = lambda _: None,
    parallel: int | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> NightResult:
    """Runs folders; one that fails, or whose process is killed, does not keep the others from it.

    SIGINT, SIGTERM and SIGHUP are passed on to the folders that are being run, which keep what
    they have done; the others are then not started.

    Args:
        night: what a night is.
        names: of the folders to run; none for all.
        tell: called with the result of each folder, in the order in which they end.
        parallel: how many folders run at a time; by default what the schedule says, or one.
        clock: says what time it is.

    Returns:
        The night; its ``exit_code`` is that of the worst folder, or of the signal.

    Raises:
        UsageError: there is no folder of a name.
        BusyError: another night of the file goes on.
        OutputError: the page, or the record of the nights, cannot be written.
    """
    folders = night.chosen(names)
    parallel = parallel or (night.schedule.parallel if night.schedule else 1)
    order = {folder.name: number for number, folder in enumerate(folders)}
    now = clock()
    result = NightResult(started=_text(now), whole=len(folders) == len(night.folders))
    with (
        Reporter(night, folders, result, clock) as reporter,
        _lock(night),
        stop_on_signals() as stop,
    ):
        record = read_record(night)
        result = replace(result, earlier=earlier_nights(night, record, now, result.whole))
        reporter.begin(record, result)
        _note(night, record, result)
        with contextlib.closing(_results(folders, night, parallel, stop, clock)) as results:
            for told, log in results:
                tell(told)
                all_told = sorted([*result.folders, told], key=lambda one: order[one.name])
                result = replace(result, folders=all_told)
                with contextlib.suppress(OutputError):  # the next is more important; the last tells
                    _note(night, record, result)
                reporter.folder_ended(result, told, log)
        result = replace(result, finished=_text(clock()), exit_code=_exit_code(result, stop))
        _note(night, record, result)
        remarks = [*reporter.end(result), *prune_after(night, order, stop)]  # telling comes first
        if remarks:
            result = replace(result, remarks=remarks)
            _note(night, record, result)
        return result


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


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


def _results(
    folders: Sequence[Folder], night: Night, parallel: int, stop: Stop, clock: Clock
) -> Generator[tuple[FolderResult, str], None, None]:
    """Runs folders, so many at a time, and gives the result and log of each as it ends."""
    at_once = min(parallel, len(folders))
    if at_once > 1:
        folders = _sharing(folders, at_once)
    waiting, started = deque(folders), list[FolderProcess]()
    try:
        while waiting or started:
            if stop.signal_number:
                for process in started:
                    process.signal(stop.signal_number)
                yield from ((FolderResult(name=one.name, error=NOT_STARTED), "") for one in waiting)
                waiting.clear()
            while waiting and len(started) < at_once:
                folder = waiting.popleft()
                prefix = f"{folder.name}: " if at_once > 1 else ""
                started.append(FolderProcess(folder, night.file.parent, clock(), prefix))
            for process in [one for one in started if one.ended(_LOOK_SECONDS / at_once)]:
                started.remove(process)
                if stop.signal_number:  # the system may have signalled the whole group
                    process.signal(stop.signal_number)
                yield process.result(), process.log.text
    finally:
        for process in started:  # a second Ctrl-C
            process.kill()


def _sharing(folders: Sequence[Folder], at_once: int) -> list[Folder]:
    """The folders, each with its share of processors and memory where it does not say how much."""
    threads = max(1, usable_cpus() // at_once)
    memory = max(free_memory() * 3 // 4 // at_once, SMALLEST_LIMIT)
    return [
        with_values(
            folder,
            options=with_values(
                folder.options,
                threads=folder.options.threads or threads,
                memory=folder.options.memory or memory,
            ),
        )
        for folder in folders
    ]
