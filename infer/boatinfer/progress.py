"""Shows progress on standard error: a bar on a terminal, otherwise a line every 30 seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Advance", "Update", "display", "map_files_in_threads", "progress_bar"]

#: Called with the number done so far, the total or None, and further figures.
Update = Callable[[int, int | None, str], None]
#: Called with how many more are done.
Advance = Callable[[int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

#: Files that are handed to the threads together.
_CHUNK = 4096
_LINE_SECONDS = 30.0


@contextlib.contextmanager
def display(description: str, unit: str) -> Iterator[Update]:
    """Shows progress; yields the function that updates it.

    Args:
        description: what is being done, such as ``"reading"``; may be empty.
        unit: what is counted: ``bytes``, or the plural of anything.
    """
    if sys.stderr is None:
        yield lambda *_: None
    elif sys.stderr.isatty():
        with _bar(description, unit) as update:
            yield update
    else:
        yield _print_lines(description, unit)


@contextlib.contextmanager
def progress_bar(
    description: str, total: int | None, unit: str, done: int = 0
) -> Iterator[Advance]:
    """Shows progress towards a fixed total, as `display`.

    Args:
        description: what is being done.
        total: how much there is to do; None if that is unknown.
        unit: what is counted.
        done: how much was done before.
    """
    with display(description, unit) as update:

        def advance(amount: int) -> None:
            nonlocal done
            done += amount
            update(done, total, "")

        yield advance


def map_files_in_threads(
    description: str, function: Callable[[Item], Result], files: Sequence[Item]
) -> list[Result]:
    """Calls a function for every file, several at a time, and shows progress.

    Args:
        description: what is being done, such as ``"reading"``.
        function: called with one file; if it raises, no further calls are begun.
        files: what to call it with.

    Returns:
        The results, in the order of the files.
    """
    results = []
    with progress_bar(description, len(files), "files") as advance, ThreadPoolExecutor() as threads:
        try:
            for start in range(0, len(files), _CHUNK):
                for result in threads.map(function, files[start : start + _CHUNK]):
                    results.append(result)
                    advance(1)
        except BaseException:  # Ctrl-C too
            threads.shutdown(wait=True, cancel_futures=True)
            raise
    return results


@contextlib.contextmanager
def _bar(description: str, unit: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        *([DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None, figures="")

        def update(done: int, total: int | None, figures: str) -> None:
            with contextlib.suppress(OSError):  # the terminal was closed; the work goes on
                bar.update(task, total=total, completed=done, figures=figures)

        yield update


def _print_lines(description: str, unit: str) -> Update:
    printed_at = time.monotonic()

    def count(number: int) -> str:
        from rich.filesize import decimal

        return decimal(number) if unit == "bytes" else f"{number:,}"

    def update(done: int, total: int | None, figures: str) -> None:
        nonlocal printed_at
        if time.monotonic() - printed_at < _LINE_SECONDS:
            return
        printed_at = time.monotonic()
        line = f"{description}: " if description else ""
        line += count(done) + ("" if total is None else f" of {count(total)}")
        line += "" if unit == "bytes" else f" {unit}"
        line += f", {figures}" if figures else ""
        with contextlib.suppress(OSError):  # stderr has been closed; the work goes on
            print(line, file=sys.stderr)  # noqa: T201

    return update
