"""Images that end or hold up the process that decodes them cost their own rows, and no more."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import colours
import killers
from boatinfer.errors import (
    BoatinferError,
    Failure,
    ModelError,
    RunInterruptedError,
    UsageError,
)
from boatinfer.isolation import supervisor
from boatinfer.isolation.process import WorkerProcess
from boatinfer.isolation.supervisor import Supervisor
from boatinfer.isolation.worker import EachItem
from boatinfer.models.model import Model
from boatinfer.pipeline.merge_shards import finish
from boatinfer.results.summary import Summary
from support import counts, outcomes, rows

Run = Callable[..., Summary]


@pytest.fixture
def run(night: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs in a worker process whose reader does what killers say."""
    monkeypatch.setattr("boatinfer.pipeline.run.Classification", killers.Classification)
    monkeypatch.setattr(
        supervisor, "keep_for_reuse", WorkerProcess.close
    )  # no such reader for others

    def call(**changes: Any) -> Summary:
        return night(**({"isolate": True, "max_failures": "100%", "threads": 2} | changes))

    return call


def statuses(out: Path) -> dict[str, str]:
    return {row["path"]: row["status"] for row in rows(out)}


def reasons(out: Path) -> dict[str, str]:
    return {row["path"]: row["message"] for row in rows(out, "failures.csv")}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("segfault", "was ended by signal 11 (segmentation fault)"),
        ("abort", "was ended by signal 6 (aborted)"),
        ("overflow", "was ended by signal 11 (segmentation fault)"),
        ("killed", "was ended by signal 9 (killed, most often for want of memory)"),
        ("exit", "ended with exit code 5"),
    ],
)
def test_an_image_that_crashes_the_process_costs_its_own_row(
    run: Run, pictures: Path, tmp_path: Path, kind: str, said: str
) -> None:
    names = ["a-first.jpg", "green/zz-middle.jpg", "zz-last.jpg"]
    if kind != "segfault":
        names = names[1:2]
    for name in names:
        killers.write_killer(pictures / name, kind)
    summary = run()
    assert counts(summary) == (12 + len(names), 12, 0, len(names))
    assert summary.exit_code == 0
    assert {path for path, status in statuses(tmp_path / "out").items() if status != "ok"} == {
        *names
    }
    assert summary.failures == {"crashed": len(names)}
    assert all(said in message for message in reasons(tmp_path / "out").values())


@pytest.mark.parametrize("kind", ["spin", "sleep"])
def test_an_image_that_hangs_times_out(run: Run, pictures: Path, tmp_path: Path, kind: str) -> None:
    killers.write_killer(pictures / "blue" / "hang.jpg", kind)
    summary = run(image_timeout=5)
    assert counts(summary) == (13, 12, 0, 1)
    assert statuses(tmp_path / "out")["blue/hang.jpg"] == "timed_out"
    assert "5 seconds (--image-timeout)" in reasons(tmp_path / "out")["blue/hang.jpg"]


def test_what_wants_too_much_memory_is_too_large(run: Run, pictures: Path, tmp_path: Path) -> None:
    killers.write_killer(pictures / "blue" / "large.jpg", "memory")
    assert counts(run(memory="1G")) == (13, 12, 0, 1)
    assert statuses(tmp_path / "out")["blue/large.jpg"] == "too_large"


def test_a_folder_of_nothing_but_killers(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "killers"
    folder.mkdir()
    for number, kind in zip(range(4), itertools.cycle(["segfault", "abort"]), strict=False):
        killers.write_killer(folder / f"{number}.jpg", kind)
    summary = run(folder=folder, out=tmp_path / "all")
    assert counts(summary) == (4, 0, 0, 4)
    assert summary.exit_code == 0
    assert summary.failures == {"crashed": 4}


def test_two_killers_at_once_in_two_threads(run: Run, pictures: Path, tmp_path: Path) -> None:
    for number in range(2):
        killers.write_killer(pictures / "blue" / f"killer{number}.jpg", "later")
    assert counts(run(batch_size=1)) == (14, 12, 0, 2)
    assert [s for s in statuses(tmp_path / "out").values() if s != "ok"] == ["crashed"] * 2


def test_killers_in_a_shard(run: Run, pictures: Path, tmp_path: Path) -> None:
    killers.write_killer(pictures / "killer.jpg", "segfault")
    for shard in ("1/2", "2/2"):
        run(shard=shard)
    summary = finish(tmp_path / "out")
    assert (counts(summary), summary.failures) == ((13, 12, 0, 1), {"crashed": 1})


def test_one_killer_alone_in_the_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    killers.write_killer(tmp_path / "one" / "only.jpg", "segfault")
    summary = run(folder=tmp_path / "one", out=tmp_path / "alone", max_failures="0")
    assert (counts(summary), summary.exit_code) == ((1, 0, 0, 1), 3)
    assert summary.remarks == ["The worker process died or hung, and was replaced, 2 times."]


def test_killers_of_earlier_nights_are_tried_alone_and_at_the_end(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killers.write_killer(pictures / "a-killer.jpg", "segfault")
    run()
    for number, colour in enumerate(colours.CLASSES):
        (pictures / f"new{number}.jpg").write_bytes(colours.picture(colour, 100 + number))
    replaced: list[None] = []
    replace = Supervisor._replace

    def note(self: Supervisor[Any, Any]) -> None:
        replaced.append(None)
        replace(self)

    monkeypatch.setattr(Supervisor, "_replace", note)
    summary = run()
    assert counts(summary) == (16, 3, 12, 1)
    assert len(replaced) == 1  # nothing else was in flight when it died
    (pictures / "a-killer.jpg").write_bytes(colours.picture("red", 99))
    assert counts(run()) == (16, 1, 15, 0)


def test_a_run_in_a_worker_process_is_as_one_in_this(
    night: Run, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "broken.jpg").write_bytes(colours.picture("red")[:300])
    for isolate, out in ((False, "here"), (True, "there")):
        night(out=tmp_path / out, isolate=isolate, features=True, max_failures="1")
    assert outcomes(tmp_path / "here") == outcomes(tmp_path / "there")


def test_a_model_that_cannot_be_opened_is_said_as_ever(night: Run, tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"no model")
    with pytest.raises(BoatinferError, match="no ONNX file") as raised:
        night(model=tmp_path / "none.onnx", isolate=True)
    assert raised.value.exit_code == 4


def test_a_network_that_hangs_is_noticed_in_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boatinfer.pipeline.run.Classification", Stuck)
    summary = run(image_timeout=3, limit=2)
    assert (counts(summary), summary.failures) == ((2, 0, 0, 2), {"timed_out": 2})


class Stuck(killers.Classification):
    """A task whose network never comes to an end."""

    def open(self) -> Any:
        """Opens the model, and has it hang from then on."""
        opened = super().open()
        Model.infer = lambda *_: time.sleep(10**6)  # type: ignore[assignment,method-assign]
        return opened


class Fatal(killers.Classification):
    """A task that kills its process before the model is open."""

    def open(self) -> Any:
        """Dies."""
        os.abort()


def test_a_model_that_kills_the_process_is_exit_code_4(
    night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boatinfer.pipeline.run.Classification", Fatal)
    monkeypatch.setattr("boatinfer.isolation.supervisor._RESTART_PAUSES", (0,))
    with pytest.raises(ModelError, match=r"colours\.onnx failed: .* signal 6 \(aborted\)"):
        night(isolate=True)


def _square(number: int) -> int:
    if number == 13:
        os.abort()
    return number * number


def _lost(number: int, reason: Failure, message: str) -> int:
    assert reason is Failure.CRASHED
    return -number


def test_any_work_on_items_can_be_isolated() -> None:
    batches = [list(range(start, start + 5)) for start in range(0, 50, 5)]
    worker = Supervisor(EachItem(_square, threads=3), _lost, timeout=60)
    worker.wait_until_open()
    worker.begin(None)
    found = [n for some in worker.results(batches, ahead=4) for n in some]
    worker.close()
    assert sorted(found) == sorted(-13 if n == 13 else n * n for n in range(50))


def _refuse(number: int) -> Any:
    if number == 2:
        raise UsageError("no twos, please.")
    return (lambda: None) if number == 3 else number


def _worker(work: Callable[[int], Any], threads: int = 2) -> Supervisor[int, int]:
    worker: Supervisor[int, int] = Supervisor(EachItem(work, threads), _lost, timeout=60)
    worker.wait_until_open()
    worker.begin(None)
    return worker


@pytest.mark.parametrize(("culprit", "said"), [(2, "no twos"), (3, "lambda")])
def test_an_exception_ends_the_work_though_other_threads_wait(culprit: int, said: str) -> None:
    worker = _worker(_refuse)
    with pytest.raises(Exception, match=said):
        list(worker.results([[1], [culprit], [1]], ahead=6))
    assert list(worker.results([[4]], ahead=1)) == [[4]]  # another process does what comes next
    worker.close()


def test_what_a_call_left_undone_is_not_in_the_next() -> None:
    worker = _worker(_refuse, threads=1)
    given_up = worker.results([[10], [11], [12], [13]], ahead=4)
    assert next(given_up) == [10]
    given_up.close()
    assert list(worker.results([[100]], ahead=4)) == [[100]]
    worker.close()


def test_a_process_that_dies_once_before_it_is_ready_is_started_again(
    night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = WorkerProcess.assign
    killed: list[WorkerProcess] = []

    def kill(self: WorkerProcess, task: Any) -> None:
        start(self, task)
        if not killed:
            killed.append(self)
            self.kill()

    monkeypatch.setattr(WorkerProcess, "assign", kill)
    monkeypatch.setattr("boatinfer.isolation.supervisor._RESTART_PAUSES", (0,))
    assert counts(night(isolate=True)) == (12, 12, 0, 0)
    assert killed


def test_a_signal_gives_up_what_hangs(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boatinfer.isolation.supervisor._TIMEOUT_AFTER_STOP", 1.0)
    for number in range(2):
        killers.write_killer(pictures / f"hang{number}.jpg", "sleep")
    interrupt = threading.Timer(4, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    started = time.monotonic()
    with pytest.raises(RunInterruptedError):
        run()
    assert time.monotonic() - started < 60  # and not the 120 seconds of an image


_PARENT = """
import os, sys
from boatinfer.isolation.supervisor import Supervisor
from boatinfer.isolation.worker import EachItem
supervisor = Supervisor(EachItem(__import__("time").sleep, threads=1), None, timeout=60)
supervisor.wait_until_open()
supervisor.begin(None)
print(supervisor._process._process.pid, flush=True)
next(supervisor.results([[10**6]], ahead=1))
"""


def test_a_worker_process_ends_with_its_supervisor() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(600):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker process is still there after a minute")


def test_a_run_that_cannot_start_leaves_no_worker_process(
    night: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []
    close = Supervisor.close

    def note(self: Supervisor[object, object]) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(Supervisor, "close", note)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError):
        night(model=tmp_path / "text.onnx", isolate=True)
    assert closed
