"""Long pieces of work, and how far they are.

On a terminal that is a bar, otherwise a line every 30 seconds; on standard error.
"""

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

__all__ = ["Advance", "in_threads", "shown"]

Advance = Callable[[int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

#: Files that are handed out to the threads together.
_HANDED_OUT = 4096

_LINE_SECONDS = 30.0
_COLUMNS: dict[str, tuple[ProgressColumn, ...]] = {
    "files": (MofNCompleteColumn(),),
    "bytes": (DownloadColumn(), TransferSpeedColumn()),
}


@contextlib.contextmanager
def shown(
    work: str, total: int | None, unit: Literal["files", "bytes"], done: int = 0
) -> Iterator[Advance]:
    """Gives the function to call with how much more is done.

    Args:
        work: what goes on, such as ``"reading"``.
        total: how much there is to do; None if nobody knows.
        unit: what is counted.
        done: how much was done before.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(work, total, unit, done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), *_COLUMNS[unit])
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(work, total=total, completed=done)
        yield lambda more: bar.update(task, advance=more)


def in_threads(
    work: str, function: Callable[[Item], Result], files: Sequence[Item]
) -> list[Result]:
    """Calls a function for every file, several at a time.

    Args:
        work: what goes on, such as ``"reading"``.
        function: what to do with one; should it raise, no further ones are begun.
        files: what to call it with.

    Returns:
        What it returned, in the order of the files.
    """
    results = []
    with shown(work, len(files), "files") as advance, ThreadPoolExecutor() as threads:
        try:
            for start in range(0, len(files), _HANDED_OUT):
                for result in threads.map(function, files[start : start + _HANDED_OUT]):
                    results.append(result)
                    advance(1)
        except BaseException:  # Ctrl-C too
            threads.shutdown(wait=True, cancel_futures=True)
            raise
    return results


def _lines(work: str, total: int | None, unit: str, done: int) -> Advance:
    said = time.monotonic()

    def text(count: int) -> str:
        return decimal(count) if unit == "bytes" else f"{count:,} {unit}"

    def advance(more: int) -> None:
        nonlocal said, done
        done += more
        if time.monotonic() - said >= _LINE_SECONDS:
            said = time.monotonic()
            whole = "" if total is None else f" of {text(total)}"
            with contextlib.suppress(OSError):  # nobody reads it; the work goes on
                print(f"{work}: {text(done)}{whole}", file=sys.stderr)  # noqa: T201

    return advance
