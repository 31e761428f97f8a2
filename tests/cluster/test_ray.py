"""A run on a Ray cluster ends as a local one, whatever becomes of its workers."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from ray.cluster_utils import Cluster

import colours
import killers
from boatinfer.errors import BoatinferError, DeviceError, RunInterruptedError
from boatinfer.pipeline.engines.ray import worker as ray_worker
from boatinfer.pipeline.engines.ray.worker import Worker
from boatinfer.pipeline.merge_shards import finish
from boatinfer.pipeline.run import Progress
from boatinfer.results.summary import Summary
from boatinfer.storage.connections import s3_endpoint
from boatinfer.storage.locations import place
from s3 import ENVIRONMENT, serving
from support import counts, outcomes

pytestmark = [
    pytest.mark.usefixtures("cluster"),
    # Ray Data's settings begin with some that it has given up.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

Night = Callable[..., Summary]
TABLES = ("predictions.csv", "failures.csv")


def same_tables(one: Path, other: Path) -> bool:
    return all(outcomes(one, name) == outcomes(other, name) for name in TABLES)


def recorded(out: Path) -> int:
    """Rows in all parts together."""
    return sum(pq.read_metadata(part).num_rows for part in (out / "parts").glob("*.parquet"))


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
    assert same_tables(tmp_path / "far", tmp_path / "near")


def _is_worker(process: psutil.Process) -> bool:
    return "ray::MapWorker" in " ".join(process.info["cmdline"] or [])


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a block take a while; the class is local, so it travels to the workers."""

    class Slow(Worker):
        def __call__(self, block: Any) -> Any:
            time.sleep(0.2)
            return super().__call__(block)

    monkeypatch.setattr("boatinfer.pipeline.engines.ray.engine.Worker", Slow)


def test_a_lost_worker_and_a_lost_machine_cost_what_they_had_not_written(
    far: Night, cluster: Cluster, tmp_path: Path, slow: None
) -> None:
    machine = cluster.add_node(num_cpus=1)
    losses: list[str] = []

    def lose(progress: Progress) -> None:
        if progress.done and not losses:
            workers = [p for p in psutil.process_iter(["cmdline"]) if _is_worker(p)]
            workers[0].kill()
            losses.append("worker")
        elif progress.done >= 20 and len(losses) == 1:
            cluster.remove_node(machine, allow_graceful=False)
            losses.append("machine")

    assert counts(far(lose)) == (60, 60, 0, 0)
    assert losses == ["worker", "machine"]
    assert recorded(tmp_path / "far") == 60
    far(engine="local", out=tmp_path / "near")
    assert same_tables(tmp_path / "far", tmp_path / "near")


def test_an_image_that_crashes_its_process_costs_its_own_row(
    far: Night, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = str(Path(__file__).parents[1])

    class Unsafe(Worker):
        def _open(self) -> None:
            sys.path.append(tests)
            unsafe = importlib.import_module("killers").Classification
            vars(ray_worker)["Classification"] = unsafe
            super()._open()

    killers.write_killer(pictures / "green" / "killer.jpg", "segfault")
    monkeypatch.setattr("boatinfer.pipeline.engines.ray.engine.Worker", Unsafe)
    summary = far()
    assert (counts(summary), summary.failures) == ((61, 60, 0, 1), {"crashed": 1})


def test_a_block_that_kills_every_worker_ends_the_night(
    far: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(Worker):
        def __call__(self, block: Any) -> Any:
            if "green/007.jpg" in block["path"].to_pylist():
                os._exit(1)
            return super().__call__(block)

    repeats = {"max_restarts": -1, "max_task_retries": 1}
    with monkeypatch.context() as patch:
        patch.setattr("boatinfer.pipeline.engines.ray.engine.Worker", Deadly)
        patch.setattr("boatinfer.pipeline.engines.ray.engine._REPEATS", repeats)
        with pytest.raises(BoatinferError, match=r"lost \d+ images .* green/00") as ended:
            far()
    assert ended.value.exit_code == 1
    summary = far(engine="local")
    assert summary.complete
    assert summary.reused >= 30


def test_shards_and_waves_on_a_cluster_are_nights_on_one_machine(
    far: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boatinfer.pipeline.engines.ray.engine.WAVE_FILES", 1)
    monkeypatch.setattr("boatinfer.pipeline.plan.CHUNK_FILES", 16)
    for number, engine in enumerate(("ray", "local"), 1):
        assert far(shard=f"{number}/2", engine=engine).complete
    assert finish(tmp_path / "far").found == 60
    far(engine="local", out=tmp_path / "near")
    assert same_tables(tmp_path / "far", tmp_path / "near")


def test_an_interrupted_run_goes_on(far: Night) -> None:
    signals = iter([signal.SIGCONT, signal.SIGINT])
    with pytest.raises(RunInterruptedError) as ended:
        far(lambda _: signal.raise_signal(next(signals, signal.SIGCONT)))
    assert ended.value.exit_code == 130
    summary = far(engine="local")
    assert summary.complete
    assert summary.reused > 0


def test_images_that_have_gone_are_rows_too(far: Night, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("a-gone.jpg\nblue/000.jpg\nz-gone.jpg\n")
    summary = far(from_file=tmp_path / "list", max_failures="100%")
    assert counts(summary) == (3, 1, 0, 2)
    assert summary.failures == {"vanished": 2}


def test_the_model_travels_and_the_results_must_be_seen(
    far: Night, model_file: Path, tmp_path: Path
) -> None:
    """A path below /proc/self leads somewhere else in every process."""
    file = os.open(model_file, os.O_RDONLY)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert far(model=Path(f"/proc/self/fd/{file}")).classified == 60
        with pytest.raises(BoatinferError, match="does not see the results folder") as refused:
            far(out=Path(f"/proc/self/fd/{folder}/elsewhere"))
        assert refused.value.exit_code == 2
    finally:
        os.close(file)
        os.close(folder)


def test_a_cluster_without_room_is_exit_code_5(far: Night) -> None:
    with pytest.raises(DeviceError, match="no GPU"):
        far(device="cuda")
    with pytest.raises(DeviceError, match="no machine of the Ray cluster has 500 CPUs"):
        far(threads=500)


def test_buckets_on_a_cluster(
    far: Night, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    far(engine="local", out=tmp_path / "near")
    with serving() as server:
        server.client.create_bucket(
            Bucket="fleet", CreateBucketConfiguration={"LocationConstraint": "eu-south-1"}
        )
        for file in sorted(pictures.rglob("*.jpg")):
            key = f"in/{file.relative_to(pictures)}"
            server.client.put_object(Bucket="fleet", Key=key, Body=file.read_bytes())
        summary = far(folder="s3://fleet/in", out="s3://fleet/out", endpoint=server.url)
        assert counts(summary) == (60, 60, 0, 0)
        for name in TABLES:
            with s3_endpoint(server.url):
                there = outcomes(place("s3://fleet/out"), name)
            assert there == outcomes(tmp_path / "near", name)


def test_a_worker_that_outlives_its_run_writes_nothing(far: Night, tmp_path: Path) -> None:
    def end(progress: Progress) -> None:
        for mark in (tmp_path / "far").glob(".ray-*"):
            mark.unlink()

    with pytest.raises(BoatinferError, match="the run has ended"):
        far(end, workers=1)
    assert recorded(tmp_path / "far") < 60


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
