"""Shows progress on standard error: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from boatinfer.logs import Level, is_json, say
from boatinfer.text import duration, percent

__all__ = ["Advance", "Update", "display", "map_files_in_threads", "progress_bar"]

#: Called with the number done so far, the total or None, and further figures.
Update = Callable[[int, int | None, str], None]
#: Called with how many more are done.
Advance = Callable[[int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

#: Files that are handed to the threads together.
_CHUNK = 4096
#: Seconds to the first line, and between two lines at most; each time takes twice the last.
_FIRST_LINE, _LONGEST = 10.0, 600.0
#: Seconds of work after which its speed is said.
_SETTLED = 3.0


@contextlib.contextmanager
def display(description: str, unit: str) -> Iterator[Update]:
    """Shows progress; yields the function that updates it.

    Args:
        description: what is being done, such as ``"reading"``.
        unit: what is counted: ``bytes``, or the plural of anything.
    """
    if sys.stderr is None:
        yield lambda *_: None
    elif sys.stderr.isatty() and not is_json():
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
        update(done, total, "")  # whose speed is not ours

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


class _Meter:
    """Puts progress into words, with the speed since the first count.

    What was done before, as of a download that is resumed, does not count for the speed.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._first: tuple[float, int] | None = None

    def text(self, done: int, total: int | None, figures: str) -> str:
        """Such as ``1,041 of 2,000 images, 52 %, 3 s left, 340 a second, 3 failed``."""
        now = time.monotonic()
        self._first = self._first or (now, done)
        seconds, more = now - self._first[0], done - self._first[1]
        said = [self._counts(done, total)]
        if total:
            said.append(percent(min(1, done / total)))
        settled = seconds >= _SETTLED and more > 0
        if settled and total is not None and done < total:
            said.append(f"{duration((total - done) * seconds / more, tenths=False)} left")
        if settled:
            said.append(f"{self._count(more / seconds)} a second")
        if figures:
            said.append(figures)
        return ", ".join(said)

    def _counts(self, done: int, total: int | None) -> str:
        unit = "" if self._unit == "bytes" else f" {self._unit}"
        if total is None:
            return f"{self._count(done)}{unit} so far"
        return f"{self._count(done)} of {self._count(total)}{unit}"

    def _count(self, number: float) -> str:
        from rich.filesize import decimal

        if self._unit == "bytes":
            return decimal(round(number))
        return f"{number:,.1f}" if 0 < number < 10 and number % 1 else f"{number:,.0f}"


@contextlib.contextmanager
def _bar(description: str, unit: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(10),
        TextColumn("{task.fields[text]}", markup=False),
    )
    meter = _Meter(unit)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None, text="")

        def update(done: int, total: int | None, figures: str) -> None:
            text = meter.text(done, total, figures)
            with contextlib.suppress(OSError):  # the terminal was closed; the work goes on
                bar.update(task, total=total, completed=done, text=text)

        yield update


def _print_lines(description: str, unit: str) -> Update:
    meter, interval = _Meter(unit), _FIRST_LINE
    due = time.monotonic() + interval

    def update(done: int, total: int | None, figures: str) -> None:
        nonlocal due, interval
        text = meter.text(done, total, figures)
        if time.monotonic() < due:
            return
        interval = min(2 * interval, _LONGEST)
        due = time.monotonic() + interval
        say(Level.INFO, f"{description}: {text}", head="")

    return update
