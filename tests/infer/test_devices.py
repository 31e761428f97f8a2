"""How many GPUs the driver shows, without any."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from boatinfer.models import session


@pytest.mark.parametrize(
    ("init", "count", "wanted"), [(0, 0, 2), (100, 0, 0), (0, 100, 0), (100, 100, 0)]
)
def test_gpus_count_where_the_driver_starts(
    monkeypatch: pytest.MonkeyPatch, init: int, count: int, wanted: int
) -> None:
    def counted(where: Any) -> int:
        where._obj.value = 2
        return count

    driver = SimpleNamespace(cuInit=lambda _: init, cuDeviceGetCount=counted)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert session._cuda_devices() == wanted


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert session._cuda_devices() == 0


def test_a_graph_that_takes_too_long_is_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def within(limit: float, call: Callable[[], Any], cancel: Callable[[], None]) -> Any:
        assert limit == session.TIME_LIMIT
        first = call()
        cancel()
        return first, call()

    class Graph:
        name = "the graph"

        def run(self, names: list[str], feeds: dict[str, Any], options: Any) -> bool:
            asked.append((names, feeds))
            return bool(options.terminate)

    monkeypatch.setattr(session, "call_with_timeout", within)
    limited = session.TimeLimitedSession(Graph())
    assert limited.run(["p"], {"x": 1}) == (False, True)
    assert asked == [(["p"], {"x": 1})] * 2
    assert limited.name == "the graph"
