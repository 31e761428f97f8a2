"""Tells several at once, each in its order, and never for longer than they may take."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable

from boatinfer.errors import UsageError
from boatinfer.night.notify.message import Message
from boatinfer.night.notify.secrets import read_address
from boatinfer.night.notify.senders import (
    DeliveryError,
    check_apprise,
    post_document,
    send_by_apprise,
)
from boatinfer.night.notify.settings import Kind, Target

__all__ = ["Outbox", "longest_seconds", "send_message"]

#: Seconds to wait before another attempt.
_PAUSES = (1.0, 3.0)

#: Tells somebody whose address and timeout it is called with.
Send = Callable[[str, float], None]


def longest_seconds(timeout: float) -> float:
    """Seconds that `Outbox.close` takes at most."""
    return 3 * timeout + sum(_PAUSES) + 5


class Outbox:
    """What is to be told.

    Threads of their own do the work, one for each target, so that a server that hangs holds
    nobody; at the end they are left alone.

    Args:
        timeout: seconds that a server may take.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._threads: dict[Target, threading.Thread] = {}
        self._tasks: dict[Target, queue.SimpleQueue[Send | None]] = {}
        self._failures: dict[Target, dict[str, None]] = {}

    def put(self, target: Target, send: Send) -> None:
        """Tells a target in the background, after what was put before."""
        if target not in self._threads:
            self._tasks[target] = queue.SimpleQueue()
            self._failures[target] = {}
            self._threads[target] = threading.Thread(target=self._work, args=(target,), daemon=True)
            self._threads[target].start()
        self._tasks[target].put(send)

    def close(self) -> dict[Target, str | None]:
        """Waits until everybody is told, or has taken too long.

        Returns:
            Why a target could not be told, in a sentence; None if it was.
        """
        for tasks in self._tasks.values():
            tasks.put(None)
        end = time.monotonic() + longest_seconds(self._timeout)
        told: dict[Target, str | None] = {}
        for target, thread in self._threads.items():
            thread.join(max(0.0, end - time.monotonic()))
            reasons = list(self._failures[target])
            if thread.is_alive():
                reasons.append("it takes too long")
            told[target] = _sentence(target, reasons) if reasons else None
        self._threads, self._tasks = {}, {}
        return told

    def _work(self, target: Target) -> None:
        failures, tasks = self._failures[target], self._tasks[target]
        try:
            address = read_address(target)
            if target.kind is Kind.APPRISE:
                check_apprise(target, address)
            while (send := tasks.get()) is not None:
                try:
                    self._send(send, address)
                except DeliveryError as error:
                    failures[str(error)] = None
        except UsageError as error:
            failures[str(error)] = None
        except Exception as error:
            failures[f"an unforeseen {type(error).__name__}"] = None

    def _send(self, send: Send, address: str) -> None:
        for pause in (*_PAUSES, None):
            try:
                return send(address, self._timeout)
            except DeliveryError as error:
                if pause is None or not error.again:
                    raise
                time.sleep(pause)
        return None


def send_message(outbox: Outbox, target: Target, message: Message) -> None:
    """Sends somebody a message, as is their kind."""
    if target.kind is Kind.WEBHOOK:
        outbox.put(target, lambda url, limit: post_document(url, message, limit))
    else:
        outbox.put(target, lambda url, limit: send_by_apprise(url, message, limit))


def _sentence(target: Target, reasons: Iterable[str]) -> str:
    found = list(reasons)
    if found[0].startswith(target.where):  # a sentence of its own
        return found[0]
    return f"{target.where}: {target.name} could not be told: {', '.join(found)}."
