from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer import threads


@given(st.lists(st.integers()), st.integers(1, 5))
def test_every_batch_is_done_once(batches: list[int], count: int) -> None:
    with threads.spread(lambda batch: batch, batches, count) as done:
        assert sorted(done) == sorted(batches)


@given(st.lists(st.integers()), st.integers(1, 3), st.integers(1, 3))
def test_stages_join_to_a_pipeline(batches: list[int], one: int, two: int) -> None:
    with (
        threads.spread(lambda n: n + 1, batches, one, ahead=1) as added,
        threads.spread(lambda n: n * 2, added, two, ahead=1) as doubled,
    ):
        assert sorted(doubled) == sorted((n + 1) * 2 for n in batches)


def test_batches_are_taken_only_as_results_are() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with threads.spread(lambda number: number, source(), threads=2, ahead=3) as done:
        assert next(done) in {0, 1, 2}
        time.sleep(0.1)
        assert len(taken) <= 1 + 6 + 2  # taken out, waiting in the queue, waiting for room
        assert len(list(done)) == 99


@pytest.mark.parametrize("where", ["work", "batches", "second stage"])
def test_an_error_comes_out_and_ends_the_threads(where: str) -> None:
    before = threading.active_count()

    def fail(number: int) -> int:
        if number == 50:
            raise RuntimeError(f"batch {number}")
        return number

    numbers = (fail(n) if where == "batches" else n for n in range(1000))
    with (
        pytest.raises(RuntimeError, match="batch 50"),
        threads.spread(fail if where == "work" else int, numbers, 2, ahead=1) as one,
        threads.spread(fail, one, threads=2, ahead=1) as two,
    ):
        list(two)
    assert threading.active_count() == before


def test_who_leaves_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    endless = itertools.count()
    with (
        threads.spread(int, endless, 3, ahead=1) as one,
        threads.spread(int, one, 2, ahead=1) as two,
    ):
        assert next(two) < 100
    assert threading.active_count() == before
    assert next(endless) < 100


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
    ],
)
def test_the_quota_of_the_control_group(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert threads._quota(tmp_path) == quota


@pytest.mark.parametrize(("quota", "cpus"), [(None, 3), (0.2, 1), (2.4, 2), (64.0, 3)])
def test_usable_cpus_respect_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    monkeypatch.setattr(threads, "_quota", lambda _: quota)
    assert threads.usable_cpus() == cpus
