"""A run on a Ray cluster ends as a local one, whatever becomes of its workers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import colours
from boatinfer.engines.ray import _complaint
from boatinfer.errors import DeviceError, RunInterruptedError, UsageError
from boatinfer.options import RunOptions
from boatinfer.parts import Parts
from boatinfer.run import Progress, run
from boatinfer.summary import Summary
from boatinfer.versions import versions
from support import counts, rows

pytestmark = [
    pytest.mark.usefixtures("cluster"),
    # What Ray's own modules do.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Night = Callable[..., Summary]
TABLES = ("predictions.csv", "failures.csv")


@pytest.fixture
def far(pictures: Path, model_file: Path, tmp_path: Path) -> Night:
    """Runs over the pictures into tmp_path/far, on the cluster; options by name."""

    def call(progress: Callable[[Progress], None] = lambda _: None, **changes: Any) -> Summary:
        defaults: dict[str, Any] = {
            **{"folder": pictures, "out": tmp_path / "far", "model": model_file},
            **{"engine": "ray", "batch_size": 4},
        }
        return run(RunOptions(**(defaults | changes)), progress)

    return call


def test_nights_on_a_cluster_are_nights_on_one_machine(
    far: Night, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "cut.jpg").write_bytes(colours.picture("red")[:500])
    (pictures / "dangling.jpg").symlink_to("nowhere.jpg")
    seen: list[Progress] = []
    options = {"max_failures": "2", "features": True, "top": 3}
    first = far(seen.append, **options)
    assert counts(first) == (62, 60, 0, 2)
    assert (first.exit_code, first.device, first.threads) == (0, "cpu", 2)
    assert first.failures == {"corrupt": 1, "vanished": 1}
    assert seen[-1] == Progress(62, 62, 2)
    shutil.copy(pictures / "red" / "000.jpg", pictures / "copy.jpg")
    (pictures / "new.jpg").write_bytes(colours.picture("blue", seed=99))
    assert counts(far(**options)) == (64, 1, 61, 2)  # the copy is known by its content
    local = far(engine="local", out=tmp_path / "near", **options)
    assert counts(local) == (64, 62, 0, 2)
    for name in TABLES:
        assert (tmp_path / "far" / name).read_bytes() == (tmp_path / "near" / name).read_bytes()
    assert counts(far(engine="local", **options)) == (64, 0, 62, 2)


def test_a_lost_worker_costs_what_it_had_not_written(far: Night, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(_: Progress) -> None:
        workers = [p for p in psutil.process_iter(["cmdline"]) if _is_worker(p)]
        if workers and not killed:
            killed.append(workers[0].pid)
            workers[0].kill()

    summary = far(kill)
    assert killed
    assert counts(summary) == (60, 60, 0, 0)
    index = Parts(tmp_path / "far" / "parts").index()
    assert index.num_rows == 60
    assert len(rows(tmp_path / "far")) == 60


def _is_worker(process: psutil.Process) -> bool:
    return "ray::MapWorker" in " ".join(process.info["cmdline"] or [])


def test_an_interrupted_run_goes_on(far: Night) -> None:
    signals = iter([signal.SIGCONT, signal.SIGINT])
    with pytest.raises(RunInterruptedError) as ended:
        far(lambda _: signal.raise_signal(next(signals, signal.SIGCONT)))
    assert ended.value.exit_code == 130
    summary = far()
    assert summary.complete
    assert summary.reused > 0


def test_the_model_travels_and_the_results_must_be_seen(
    far: Night, model_file: Path, tmp_path: Path
) -> None:
    """A path below /proc/self leads somewhere else in every process."""
    file = os.open(model_file, os.O_RDONLY)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert far(model=Path(f"/proc/self/fd/{file}")).classified == 60
        with pytest.raises(UsageError, match=r"does not see the results folder .* choose another"):
            far(out=Path(f"/proc/self/fd/{folder}/elsewhere"))
    finally:
        os.close(file)
        os.close(folder)


def test_a_cluster_without_room_is_exit_code_5(far: Night) -> None:
    with pytest.raises(DeviceError, match="no GPU"):
        far(device="cuda")
    with pytest.raises(DeviceError, match="no machine of the Ray cluster has 500 CPUs"):
        far(threads=500)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"versions": {"numpy": "0.1"}}, "has numpy 0.1, and this one has"),
        ({"out": False}, "does not see the results folder out"),
        ({"folder": False}, "does not see the images in photos"),
        ({}, None),
    ],
)
def test_what_is_wrong_with_a_machine(changes: dict[str, Any], said: str | None) -> None:
    seen: dict[str, Any] = {"versions": versions(), "out": True, "folder": True}
    seen |= changes | {"versions": versions() | changes.get("versions", {})}
    complaint = _complaint(seen, Path("out"), Path("photos"))
    assert complaint is None if said is None else said in str(complaint)


def test_a_cluster_that_is_not_there_is_exit_code_5(pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "boatinfer", "run", str(pictures), "-o", str(tmp_path / "o")]
    done = subprocess.run(
        [*command, "--engine", "ray", "--ray-address", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert "there is no Ray cluster at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()
