"""What keeps a run off a Ray cluster is a sentence; Ray itself is not needed for these."""

from __future__ import annotations

import signal
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from boatinfer.errors import DeviceError, UsageError, install_hint
from boatinfer.pipeline.engines.ray.worker import NodeRequirements
from boatinfer.pipeline.options import RunOptions
from boatinfer.results.summary import Summary
from boatinfer.signals import preserve_signal_handlers
from boatinfer.storage.bucket import BucketPath
from boatinfer.versions import versions
from s3 import Server
from support import Command


def test_without_ray_the_line_that_brings_it_is_told(
    boatinfer: Command, pictures: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ended = boatinfer("run", pictures, "-m", model_file, "--engine", "ray")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert f"--engine ray needs ray, which is not installed; {install_hint('ray')}" in ended.err


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (RuntimeError("Version mismatch:\n  Ray: 2.60\n"), UsageError, "cannot be used: Version"),
        (ConnectionError("Could not find any Ray"), DeviceError, "no Ray cluster at auto .Could"),
        (ValueError("no such scheme"), DeviceError, "no Ray cluster at auto .no such scheme"),
    ],
)
def test_a_cluster_that_ray_cannot_join(
    night: Callable[..., Summary],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: type[Exception],
    said: str,
) -> None:
    def init(*_: Any, **__: Any) -> None:
        raise error

    context = types.SimpleNamespace(
        enable_progress_bars=True, print_on_execution_start=True, max_errored_blocks=0
    )
    data: Any = types.ModuleType("ray.data")
    data.DataContext = types.SimpleNamespace(get_current=lambda: context)
    ray: Any = types.ModuleType("ray")
    ray.data, ray.init, ray.is_initialized = data, init, lambda: False
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", data)
    with pytest.raises(kind, match=said):
        night(engine="ray", ray_address="auto")
    assert context.enable_progress_bars  # what is set for a run is set back


def test_what_a_library_does_to_signals_is_undone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with preserve_signal_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_options_of_a_cluster_need_one(pictures: Path) -> None:
    for options in ({"workers": 2}, {"ray_address": "auto"}):
        with pytest.raises(UsageError, match="need --engine ray"):
            RunOptions(pictures, **options)
    with pytest.raises(UsageError, match="engine must be local or ray, not dask"):
        RunOptions(pictures, engine="dask")  # type: ignore[arg-type]


def test_what_a_machine_lacks(pictures: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    sight = NodeRequirements(versions(), mark, pictures, ("red/000.jpg", "gone.jpg"), None)
    assert "does not see the results folder" in str(sight.unmet())
    mark.touch()
    assert sight.unmet() is None
    old = replace(sight, versions=versions() | {"numpy": "0.1"})
    assert "the run began with 0.1; install the same everywhere" in str(old.unmet())
    assert "does not see the images in" in str(replace(sight, sample_paths=("gone.jpg",)).unmet())


def test_a_machine_without_credentials_or_with_another_store(
    bucket: str, s3: Server, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = BucketPath("s3", bucket, "out/.ray-run")
    sight = NodeRequirements(versions(), mark, pictures, ("red/000.jpg",), s3.url)
    assert "does not see the results folder" in str(sight.unmet())
    s3.client.put_object(Bucket=bucket, Key=mark.key, Body=b"")
    assert sight.unmet() is None
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    elsewhere = replace(sight, endpoint="http://127.0.0.1:1")
    assert "does not reach the folders" in str(elsewhere.unmet())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    other = replace(sight, mark=replace(mark, bucket="other"))
    assert "there are no credentials; set AWS_ACCESS_KEY_ID" in str(other.unmet())
