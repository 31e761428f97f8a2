"""A model file, a folder of pictures, and a Ray cluster of this machine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

import colours
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import Progress, run
from boatinfer.results.summary import Summary
from s3 import ENVIRONMENT

#: A lost machine is missed within two seconds, and workers are as quick as other processes.
SETTINGS = {
    **{"health_check_period_ms": 500, "health_check_failure_threshold": 3},
    "worker_niceness": 0,
}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of one machine with two processors, which runs in this process use."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        for name, value in ENVIRONMENT.items():  # what the machines have of their own
            patch.setenv(name, value)
        warnings.simplefilter("ignore")
        head = {"num_cpus": 2, "include_dashboard": False, "_system_config": SETTINGS}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """The colour classifier as an ONNX file."""
    return colours.write_model(tmp_path / "colours.onnx")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with twenty pictures of each colour, in a sub-folder each."""
    folder = tmp_path / "pictures"
    colours.write_pictures(folder, each=20)
    return folder


@pytest.fixture
def far(pictures: Path, model_file: Path, tmp_path: Path) -> Callable[..., Summary]:
    """Runs over the pictures into tmp_path/far, on the cluster; options by name."""

    def call(progress: Callable[[Progress], None] = lambda _: None, **changes: Any) -> Summary:
        defaults: dict[str, Any] = {
            **{"folder": pictures, "out": tmp_path / "far", "model": model_file},
            **{"engine": "ray", "batch_size": 4},
        }
        return run(RunOptions(**(defaults | changes)), progress)

    return call
