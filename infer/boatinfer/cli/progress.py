"""Shows how far a run is: a bar on a terminal, otherwise a line every 30 seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boatinfer.pipeline.run import Progress

__all__ = ["shown"]

_LINE_SECONDS = 30.0


@contextlib.contextmanager
def shown(wanted: bool = True) -> Iterator[Callable[[Progress], None]]:
    """Gives the function to call with each progress; writes to standard error, if ``wanted``."""
    if not wanted or sys.stderr is None:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar() as update:
            yield update
    else:
        yield _lines()


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} images/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
    )
    started = time.monotonic()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rate=0.0, failed=0)

        def update(now: Progress) -> None:
            rate = now.done / max(1e-3, time.monotonic() - started)
            with contextlib.suppress(OSError):
                bar.update(task, total=now.total, completed=now.done, rate=rate, failed=now.failed)

        yield update


def _lines() -> Callable[[Progress], None]:
    started = said = time.monotonic()

    def update(now: Progress) -> None:
        nonlocal said
        moment = time.monotonic()
        if moment - said >= _LINE_SECONDS:
            said = moment
            rate = now.done / (moment - started)
            total = "" if now.total is None else f" of {now.total:,}"
            line = f"{now.done:,}{total} images, {rate:,.0f} a second, {now.failed:,} failed"
            with contextlib.suppress(OSError):  # nobody reads it any more; the run goes on
                print(line, file=sys.stderr)  # noqa: T201

    return update
