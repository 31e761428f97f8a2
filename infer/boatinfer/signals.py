"""Lets a signal end a run gracefully."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator

from boatinfer.errors import RunInterruptedError

__all__ = ["SIGNALS", "Stop", "preserve_signal_handlers", "stop_on_signals"]

_log = logging.getLogger(__name__)

#: Ctrl-C, kill, and the end of the terminal session that started the run.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
#: Seconds in which a repeated signal is a duplicate: some tools signal a process and its group.
_DUPLICATE_SECONDS = 1.0


class Stop:
    """Set by SIGINT, SIGTERM or SIGHUP; the run then finishes its batches and writes them.

    Attributes:
        signal_number: the signal that was received; 0 if none.
        notice: a sentence to show at the first signal: what it waits for; empty for none.
    """

    signal_number = 0
    notice = ""

    def check(self) -> None:
        """Ends a run of which nothing is recorded yet.

        Raises:
            RunInterruptedError: a signal was received.
        """
        if self.signal_number:
            raise RunInterruptedError("interrupted before the first image.", self.signal_number)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """The first SIGINT, SIGTERM or SIGHUP sets a `Stop`; a later one has its usual effect."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set signal handlers
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    # Signals that the parent process had set to be ignored stay ignored.
    active_handlers = {n: h for n, h in handlers.items() if h not in {None, signal.SIG_IGN}}
    received_at = 0.0

    def handle(number: int, _: object) -> None:
        nonlocal received_at
        if not stop.signal_number:
            stop.signal_number, received_at = number, time.monotonic()
            if stop.notice:
                _log.warning(stop.notice)
        elif time.monotonic() - received_at > _DUPLICATE_SECONDS:
            signal.signal(number, active_handlers[signal.Signals(number)])
            signal.raise_signal(number)

    for number in active_handlers:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in active_handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def preserve_signal_handlers() -> Iterator[None]:
    """Restores the handlers of SIGINT, SIGTERM and SIGHUP, should a library change them."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None:
                    signal.signal(number, handler)
