"""How long each stage of a run works."""

from __future__ import annotations

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

    def working(self, stage: str) -> _Working:
        """Counts the time that the body of a ``with`` takes."""
        return _Working(self, stage)

    def add(self, stage: str, seconds: float) -> None:
        """Counts seconds that a stage has worked."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def taking(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """Gives the items, and counts the time that it takes to get each."""
        source, end = iter(items), object()
        while True:
            with self.working(stage):
                item = next(source, end)
            if item is end:
                return
            yield item  # type: ignore[misc]


class _Working:
    """What `Stages.working` gives; a generator would take three times as long, for each image."""

    __slots__ = ("_stage", "_stages", "_started")

    def __init__(self, stages: Stages, stage: str) -> None:
        self._stages, self._stage = stages, stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._stages.add(self._stage, time.perf_counter() - self._started)
