"""Lets a signal end a run in order."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

from boatinfer.errors import RunInterruptedError

__all__ = ["SIGNALS", "Stop", "keeping_handlers", "stop_on_signals"]


#: Ctrl-C, a polite kill, and the end of the terminal or connection that started the run.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
#: Seconds in which a signal is the same one again: some send it to a process and its group.
_AGAIN = 1.0


class Stop:
    """Set by SIGINT, SIGTERM or SIGHUP; the run then finishes its batches and writes them.

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
    """Lets the first SIGINT, SIGTERM or SIGHUP set a `Stop`; a later one acts at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers; its owner decides
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    # What whoever started us wants ignored stays ignored.
    before = {n: h for n, h in handlers.items() if h not in {None, signal.SIG_IGN}}

    first = 0.0

    def note(number: int, _: object) -> None:
        nonlocal first
        if not stop.signal_number:
            stop.signal_number, first = number, time.monotonic()
        elif time.monotonic() - first > _AGAIN:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def keeping_handlers() -> Iterator[None]:
    """Sets back what a library does to the handlers of SIGINT, SIGTERM and SIGHUP."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None:
                    signal.signal(number, handler)
