"""When what was classified is written: at the latest what a kill may cost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boatinfer.errors import Failure
from boatinfer.models.device import Device
from boatinfer.pipeline.engines import local
from boatinfer.pipeline.engines.stages import batches_ahead
from boatinfer.pipeline.progress import Progress
from boatinfer.pipeline.timings import Stages
from boatinfer.pipeline.worker import lost, lost_in_run
from boatinfer.results.store.rows import OK
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.listing import ListedFile


class Clock:
    """Stands for the module `time` in `local`."""

    now = 500.0

    def monotonic(self) -> float:
        return self.now


def worked(
    monkeypatch: pytest.MonkeyPatch, lists: int, *, size: int, seconds: float, fails: bool = False
) -> tuple[list[int], list[Progress]]:
    """Does lists of rows that take so many seconds each; gives the sizes of the parts written."""
    clock, parts, said = Clock(), list[int](), list[Progress]()
    rows = [SimpleNamespace(status=OK), *[SimpleNamespace(status="corrupt")] * (size - 1)]

    @contextlib.contextmanager
    def spread(*_: Any) -> Iterator[Iterator[list[Any]]]:
        def done() -> Iterator[list[Any]]:
            for _ in range(lists):
                clock.now += seconds
                yield [*rows]
            if fails:
                raise OSError

        yield done()

    monkeypatch.setattr(local, "time", clock)
    monkeypatch.setattr(local, "_spread", spread)
    context: Any = SimpleNamespace(
        begun=lambda: None,
        record=lambda rows, _: parts.append(len(rows)),
        progress=said.append,
    )
    files: Any = SimpleNamespace(total=7)
    with pytest.raises(OSError) if fails else contextlib.nullcontext():
        assert local.work(context, iter(()), files, SimpleNamespace()) == lists * size  # type: ignore[arg-type]
    return parts, said


def test_a_part_is_written_when_its_oldest_row_is_thirty_seconds_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert worked(monkeypatch, 65, size=1, seconds=1)[0] == [30, 30, 5]
    assert worked(monkeypatch, 4, size=3, seconds=29)[0] == [6, 6]
    assert worked(monkeypatch, 3, size=2, seconds=31)[0] == [2, 2, 2]


def test_a_part_is_written_when_it_has_1024_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worked(monkeypatch, 5, size=512, seconds=0)[0] == [1024, 1024, 512]
    assert worked(monkeypatch, 5, size=511, seconds=0)[0] == [1533, 1022]


def test_what_was_done_is_written_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worked(monkeypatch, 3, size=2, seconds=1, fails=True)[0] == [6]
    assert worked(monkeypatch, 0, size=2, seconds=1, fails=True)[0] == []


def test_progress_tells_what_is_done_and_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    said = worked(monkeypatch, 2, size=5, seconds=1)[1]
    assert said == [Progress(7, 5, 4), Progress(7, 10, 8)]


def supervised(monkeypatch: pytest.MonkeyPatch, replaced: int) -> tuple[int, Any]:
    """Hands work to a worker process that does nothing; gives the memory that it may use."""
    begun: list[Any] = []

    def results(*_: Any, **__: Any) -> Iterator[list[Any]]:
        yield []

    monkeypatch.setattr(local, "batches_ahead", lambda *_: 1)
    context: Any = SimpleNamespace(
        model=SimpleNamespace(batch_size=2, device=None),
        summary=SimpleNamespace(threads=2),
        remarks=[],
        stop=SimpleNamespace(signal_number=0),
        options=SimpleNamespace(memory=2**30, lenient=False, threads=2),
        stages=Stages(),
        folder=None,
        wants_features=False,
        worker=SimpleNamespace(
            begin=begun.append,
            results=results,
            seconds={"read": 2.0},
            replaced=replaced,
        ),
    )
    context.remark = context.remarks.append
    with local._spread(context, iter(()), SimpleNamespace(), SimpleNamespace()) as rows:  # type: ignore[arg-type]
        assert list(rows) == [[]]
    return begun[0].memory, context


@pytest.mark.parametrize(
    ("in_use", "worker"),
    [(2**20, 2**30 * 7 // 8), (2**28, 2**30 - 2**28 * 3 // 2), (2**30, 2**29)],
)
def test_the_worker_gets_the_memory_that_its_supervisor_leaves(
    monkeypatch: pytest.MonkeyPatch, in_use: int, worker: int
) -> None:
    monkeypatch.setattr("boatinfer.images.admission.memory_in_use", lambda: in_use)
    memory, context = supervised(monkeypatch, 0)
    assert memory == worker
    assert context.stages.seconds["read"] == 2
    assert context.remarks == []


def test_it_is_told_how_often_the_worker_was_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = supervised(monkeypatch, 3)[1].remarks
    assert said == "The worker process died or hung, and was replaced, 3 times."


def test_of_a_time_limit_the_option_is_named() -> None:
    found = ListedFile("a.jpg", 1, 2)
    row = lost_in_run(found, Failure.TIMED_OUT, "it took long")
    assert (row.path, row.status, row.error) == (
        "a.jpg",
        "timed_out",
        "it took long (--image-timeout)",
    )
    assert lost_in_run(found, Failure.CRASHED, "it crashed").error == "it crashed"
    assert lost(found, Failure.TIMED_OUT, "it took long").error == "it took long"


@pytest.mark.parametrize(
    ("device", "threads", "size", "wanted"),
    [
        *((Device.CPU, 1, 4, 4), (Device.CPU, 3, 4, 8), (Device.CUDA, 1, 4, 6)),
        *((Device.CUDA, 3, 64, 14), (Device.CPU, 16, 4, 34)),
    ],
)
def test_so_many_batches_keep_every_stage_busy(
    device: Device, threads: int, size: int, wanted: int
) -> None:
    assert batches_ahead(device, Path("in"), size, threads) == wanted
    requests = min(512, 64 * threads)  # each may take as long as three batches
    more = batches_ahead(device, BucketPath("s3", "boats", "in"), size, threads)
    assert more == wanted + 3 * requests // size
