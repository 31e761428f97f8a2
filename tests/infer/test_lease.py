"""Who may write into a results folder in a bucket."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boatinfer.errors import BusyError
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.folder import Results
from boatinfer.storage import lease
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.errors import StoreError
from boatinfer.storage.lease import Lease, current_holder
from boatinfer.storage.locations import place
from s3 import Server
from support import Command


@pytest.fixture
def lock(bucket: str) -> BucketPath:
    """The object that stands for a lease."""
    return BucketPath("s3", bucket, "out/.lock")


def forge(lock: BucketPath, **changes: object) -> None:
    """Makes the lease somebody else's."""
    note = msgspec.json.decode(lock.read_bytes()) if lock.exists() else {}
    note |= {"key": "other", "holder": "the other"}
    lock.write_bytes(msgspec.json.encode(note | changes))


def test_two_at_a_time_are_one_too_many(
    bucket: str, lock: BucketPath, pictures: Path, boatinfer: Command, s3: Server
) -> None:
    s3.fill(bucket, pictures, "valid/")
    with Lease(lock).hold():
        assert (current_holder(lock) or "").startswith("process ")
        ended = boatinfer("run", f"s3://{bucket}/valid", "-o", f"s3://{bucket}/out")
        assert ended.code == 6
        assert f"s3://{bucket}/out is held by process " in ended.err
    assert current_holder(lock) is None
    assert not lock.exists()


@pytest.mark.parametrize("machine", ["here", "elsewhere"])
def test_a_lease_whose_holder_has_gone(
    lock: BucketPath, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, check=True, text=True)  # fmt: skip
    with Lease(lock).hold():
        here = msgspec.json.decode(lock.read_bytes())["place"]
    lock.write_bytes(msgspec.json.encode(
        {"holder": "x", "key": "x", "process": int(gone.stdout), "place": "y", "generation": 1}
    ))  # fmt: skip
    if machine == "here":
        forge(lock, place=here)
    else:  # nobody can tell, so the time decides, by the store's clock
        assert current_holder(lock) == "x"
        with pytest.raises(BusyError, match="held by x"), Lease(lock).hold():
            pass
    with monkeypatch.context() as later:
        if machine == "elsewhere":
            later.setattr(lease, "LEASE_TTL", -2.0)
        assert current_holder(lock) is None
        with Lease(lock).hold():
            later.undo()
            assert (current_holder(lock) or "").startswith(f"process {os.getpid()} on ")
    assert [file.name for file in lock.parent.iterdir()] == []


@pytest.mark.parametrize("free", [True, False])
def test_of_two_that_want_a_lease_at_once_one_gets_it(
    lock: BucketPath, monkeypatch: pytest.MonkeyPatch, free: bool
) -> None:
    """Whether there is none, or one whose time is over."""
    if not free:
        forge(lock, holder="x", place="y", process=1)
    load = BucketPath.load

    def look(path: BucketPath) -> Any:
        try:
            return load(path)
        finally:
            if path == lock:
                monkeypatch.setattr(BucketPath, "load", load)
                faster.enter_context(Lease(lock).hold())

    with contextlib.ExitStack() as faster:
        with monkeypatch.context() as late:
            late.setattr(lease, "LEASE_TTL", -2.0)
            monkeypatch.setattr(BucketPath, "load", look)
            with pytest.raises(BusyError, match="is held by process"), Lease(lock).hold():
                pass
        assert (current_holder(lock) or "").startswith("process ")
    assert not lock.exists()


def test_a_lease_is_renewed(lock: BucketPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_INTERVAL", 0.02)
    with Lease(lock).hold():
        before = lock.read_bytes()
        while lock.read_bytes() == before:
            pass
        assert msgspec.json.decode(lock.read_bytes())["generation"] > 0


def test_a_lease_that_was_taken_over_lets_nothing_be_written(
    bucket: str, lock: BucketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_INTERVAL", 0.0)  # then every check asks the store
    results = Results(lock.parent)
    with pytest.raises(BusyError, match="was taken over"), results.lock("s3://elsewhere"):
        results.parts.check()
        forge(lock)
        with results.parts.writer() as sink:
            sink.write(b"x")
    assert results.parts.files() == []
    assert lock.exists()  # it is the other's


def test_a_store_that_cannot_be_reached_keeps_the_lease(
    lock: BucketPath, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Lease(lock)
    with mine.hold():
        s3.misbehaves = lambda method, path: (403, "AccessDenied")
        with pytest.raises(StoreError):
            mine._renew()
        s3.behave()
        mine.check()


def test_a_store_that_ignores_conditions_is_named(
    lock: BucketPath, s3: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.obeys_conditions = False
    mine = Lease(lock)
    with mine.hold():
        assert "this store ignores conditional writes" in capsys.readouterr().err
        mine._renew()
        mine.check()
        with pytest.raises(BusyError, match="is held by"), Lease(lock).hold():
            pass
        mine.check()
        forge(lock)
        mine._renew()
        with pytest.raises(BusyError, match="was taken over"):
            mine.check()


def test_a_lease_that_was_taken_over_unseen_stays_the_others(lock: BucketPath) -> None:
    with Lease(lock).hold():
        forge(lock)
    assert lock.exists()


def test_a_run_holds_its_results(
    bucket: str, pictures: Path, model_file: Path, s3: Server, night: Callable[..., object]
) -> None:
    out = place(f"s3://{bucket}/out")
    held: list[str | None] = []
    run(RunOptions(pictures, out, model_file), lambda _: held.append(Results(out).lock_holder()))
    assert held
    assert all(who and who.startswith("process ") for who in held)


class Clock:
    """Stands for the module `time` in `lease`, and stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now, self.time_ns = 1000.0, time.time_ns

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    return clock


def generation(lock: BucketPath) -> int:
    return int(msgspec.json.decode(lock.read_bytes())["generation"])


def test_a_lease_whose_renewals_are_late_is_renewed_before_something_is_written(
    lock: BucketPath, clock: Clock
) -> None:
    mine = Lease(lock)
    with mine.hold():
        clock.now += 2 * lease.RENEW_INTERVAL - 1
        mine.check()
        assert generation(lock) == 0  # one renewal may be late: the store is not asked
        clock.now += 2
        mine.check()
        assert generation(lock) == 1
        clock.now += 2 * lease.RENEW_INTERVAL - 1
        mine.check()
        assert generation(lock) == 1


def test_whoever_slept_until_the_lease_could_be_taken_over_asks_before_it_writes(
    lock: BucketPath, clock: Clock
) -> None:
    mine = Lease(lock)
    with mine.hold():
        forge(lock)
        clock.now += lease.LEASE_TTL / 2  # long before anybody else may
        with pytest.raises(BusyError, match="was taken over"):
            mine.check()


def test_a_lease_is_renewed_often_enough_that_three_renewals_may_fail(lock: BucketPath) -> None:
    waited: list[float] = []

    class End(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0)
            return len(waited) > 3

    mine = Lease(lock)
    mine._ended = End()
    with mine.hold():
        pass
    assert len(waited) == 4
    assert 4 * max(waited) < lease.LEASE_TTL
    assert min(waited) >= 10  # a request costs money
