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

from boatinfer import cpus, parallel
from boatinfer.cpus import usable_cpus


@given(st.lists(st.integers()), st.integers(1, 5))
def test_every_batch_is_done_once(batches: list[int], count: int) -> None:
    with parallel.parallel_unordered(lambda batch: batch, batches, count) as done:
        assert sorted(done) == sorted(batches)


@given(st.lists(st.integers()), st.integers(1, 3), st.integers(1, 3))
def test_stages_join_to_a_pipeline(batches: list[int], one: int, two: int) -> None:
    with (
        parallel.parallel_unordered(lambda n: n + 1, batches, one, ahead=1) as added,
        parallel.parallel_unordered(lambda n: n * 2, added, two, ahead=1) as doubled,
    ):
        assert sorted(doubled) == sorted((n + 1) * 2 for n in batches)


def test_batches_are_taken_only_as_results_are() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with parallel.parallel_unordered(lambda number: number, source(), threads=2, ahead=3) as done:
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
        parallel.parallel_unordered(fail if where == "work" else int, numbers, 2, ahead=1) as one,
        parallel.parallel_unordered(fail, one, threads=2, ahead=1) as two,
    ):
        list(two)
    assert threading.active_count() == before


def test_who_leaves_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    endless = itertools.count()
    with (
        parallel.parallel_unordered(int, endless, 3, ahead=1) as one,
        parallel.parallel_unordered(int, one, 2, ahead=1) as two,
    ):
        assert next(two) < 100
    assert threading.active_count() == before
    assert next(endless) < 100


def _v1(group: str, quota: int) -> dict[str, str]:
    """The files of a control group of version 1."""
    names = {f"cpu/{group}cpu.cfs_quota_us": quota, f"cpu/{group}cpu.cfs_period_us": 100_000}
    return {name: str(value) for name, value in names.items()}


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/", {}, None),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/docker/f00d", {"cpu.max": "150000 100000"}, 1.5),  # as the host names it
        ("0::/a.slice/b.service", {"a.slice/b.service/cpu.max": "300000 100000"}, 3),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "300000 100000"}, 2),
        ("0::/a/b", {"a/cpu.max": "max 100000", "a/b/cpu.max": "300000 100000"}, 3),
        ("0::/a", {"a/cpu.max": "max 100000", "b/cpu.max": "100000 100000"}, None),
        ("4:cpu,cpuacct:/", _v1("", -1), None),
        ("4:cpu,cpuacct:/", _v1("", 50_000), 0.5),
        ("4:cpu,cpuacct:/a/b\n0::/", _v1("a/", 50_000) | _v1("a/b/", 80_000), 0.5),
        ("5:memory:/a\n4:cpu:/\n1:name=systemd:/a", _v1("a/", 50_000), None),
        (None, {}, None),
    ],
)
def test_the_quota_is_the_least_of_the_control_groups_around_the_process(
    tmp_path: Path, groups: str | None, files: dict[str, str], quota: float | None
) -> None:
    if groups is not None:
        (tmp_path / "member").write_text(groups + "\n")
    for name, text in files.items():
        file = tmp_path / "mounted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert cpus._quota(tmp_path / "mounted", tmp_path / "member") == quota


@pytest.mark.parametrize(("quota", "expected"), [(None, 3), (0.2, 1), (2.4, 2), (64.0, 3)])
def test_usable_cpus_respect_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    monkeypatch.setattr("boatinfer.cpus._quota", lambda *_: quota)
    assert usable_cpus() == expected
