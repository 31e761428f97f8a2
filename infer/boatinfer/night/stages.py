"""How long each stage of a run works."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["Stages"]

Item = TypeVar("Item")


class Stages:
    """Seconds of work by stage, summed over all threads; stages work at the same time.

    Attributes:
        seconds: by stage, in the order in which the stages first ended.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def working(self, stage: str) -> Iterator[None]:
        """Counts the time that the body takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - started
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + took

    def taking(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """Gives the items, and counts the time that it takes to get each."""
        source, end = iter(items), object()
        while True:
            with self.working(stage):
                item = next(source, end)
            if item is end:
                return
            yield item  # type: ignore[misc]
