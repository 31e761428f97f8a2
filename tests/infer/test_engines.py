from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.engines import local


@given(st.lists(st.integers()), st.integers(1, 5))
def test_every_batch_is_done_once(batches: list[int], threads: int) -> None:
    assert sorted(local.spread(lambda batch: batch, batches, threads)) == sorted(batches)


def test_batches_are_taken_only_as_threads_become_free() -> None:
    taken: list[int] = []
    gate = threading.Event()

    def source() -> object:
        for number in range(100):
            taken.append(number)
            if number == 5:
                gate.set()
            yield number

    def work(number: int) -> int:
        gate.wait(0.05)
        return number

    done = local.spread(work, source(), threads=2)  # type: ignore[arg-type]
    next(done)
    assert len(taken) <= 5
    assert sorted([0, *done])[-1] == 99


def test_an_error_in_the_work_comes_out() -> None:
    def work(number: int) -> int:
        raise RuntimeError(f"batch {number}")

    with pytest.raises(RuntimeError, match="batch"):
        list(local.spread(work, [1, 2, 3], threads=2))


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
    assert local._quota(tmp_path) == quota


@pytest.mark.parametrize(("quota", "cpus"), [(None, 3), (0.2, 1), (2.4, 2), (64.0, 3)])
def test_usable_cpus_respect_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    monkeypatch.setattr(local, "_quota", lambda _: quota)
    assert local.usable_cpus() == cpus
