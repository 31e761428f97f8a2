"""Shows progress on standard error: a bar on a terminal, otherwise a line every 30 seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

__all__ = ["Advance", "map_files_in_threads", "progress_bar"]

Advance = Callable[[int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

#: Files that are submitted to the threads at a time.
_SUBMIT_SIZE = 4096

_LINE_SECONDS = 30.0
_COLUMNS: dict[str, tuple[ProgressColumn, ...]] = {
    "files": (MofNCompleteColumn(),),
    "bytes": (DownloadColumn(), TransferSpeedColumn()),
}


@contextlib.contextmanager
def progress_bar(
    work: str, total: int | None, unit: Literal["files", "bytes"], done: int = 0
) -> Iterator[Advance]:
    """Shows progress; yields the function to call with each further amount done.

    Args:
        work: name of the work, such as ``"reading"``.
        total: how much there is to do; None if unknown.
        unit: what is counted.
        done: how much was done before.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _print_lines(work, total, unit, done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), *_COLUMNS[unit])
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(work, total=total, completed=done)
        yield lambda amount: bar.update(task, advance=amount)


def map_files_in_threads(
    work: str, function: Callable[[Item], Result], files: Sequence[Item]
) -> list[Result]:
    """Calls a function for every file, several at a time.

    Args:
        work: name of the work for the progress bar, such as ``"reading"``.
        function: called with one file; if it raises, no further files are begun.
        files: the arguments of the calls.

    Returns:
        The results, in the order of the files.
    """
    results = []
    with progress_bar(work, len(files), "files") as advance, ThreadPoolExecutor() as threads:
        try:
            for start in range(0, len(files), _SUBMIT_SIZE):
                for result in threads.map(function, files[start : start + _SUBMIT_SIZE]):
                    results.append(result)
                    advance(1)
        except BaseException:  # Ctrl-C too
            threads.shutdown(wait=True, cancel_futures=True)
            raise
    return results


def _print_lines(work: str, total: int | None, unit: str, done: int) -> Advance:
    printed_at = time.monotonic()

    def text(count: int) -> str:
        return decimal(count) if unit == "bytes" else f"{count:,} {unit}"

    def advance(amount: int) -> None:
        nonlocal printed_at, done
        done += amount
        if time.monotonic() - printed_at >= _LINE_SECONDS:
            printed_at = time.monotonic()
            of_total = "" if total is None else f" of {text(total)}"
            with contextlib.suppress(OSError):  # standard error is closed; the work goes on
                print(f"{work}: {text(done)}{of_total}", file=sys.stderr)  # noqa: T201

    return advance
