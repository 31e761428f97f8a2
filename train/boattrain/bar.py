"""How far a long piece of work is: a bar on a terminal, otherwise a line every 30 seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Literal

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

__all__ = ["Advance", "shown"]

Advance = Callable[[int], None]

_LINE_SECONDS = 30.0
_COLUMNS: dict[str, tuple[ProgressColumn, ...]] = {
    "files": (MofNCompleteColumn(),),
    "bytes": (DownloadColumn(), TransferSpeedColumn()),
}


@contextlib.contextmanager
def shown(
    work: str, total: int | None, unit: Literal["files", "bytes"], done: int = 0
) -> Iterator[Advance]:
    """Gives the function to call with how much more is done; writes to standard error.

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
