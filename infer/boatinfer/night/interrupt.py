"""Lets a signal end a run in order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from boatinfer.errors import RunInterruptedError

__all__ = ["Stop", "keeping_handlers", "stop_on_signals"]


class Stop:
    """Set by SIGINT or SIGTERM; the run then finishes its batches and writes them.

    Attributes:
        signal_number: the signal that came; 0 while none has.
    """

    signal_number = 0

    def check(self) -> None:
        """Ends a run of which nothing is recorded yet.

        Raises:
            RunInterruptedError: a signal came.
        """
        if self.signal_number:
            raise RunInterruptedError("interrupted before the first image.", self.signal_number)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Lets the first SIGINT or SIGTERM set a `Stop`; a second one acts at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers; its owner decides
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # What whoever started us wants ignored stays ignored.
    before = {n: h for n, h in handlers.items() if h not in {None, signal.SIG_IGN}}

    def note(number: int, _: object) -> None:
        stop.signal_number = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def keeping_handlers() -> Iterator[None]:
    """Sets back what a library does to the handlers of SIGINT and SIGTERM."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None:
                    signal.signal(number, handler)
