"""A model file and a folder of pictures."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import colours
from boatinfer.images import Pixels
from boatinfer.models.model import Model
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.summary import Summary
from boatinfer.storage.connections import _cached_connection
from champions import Scene
from s3 import ENVIRONMENT, Server, serving
from support import Command


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """The colour classifier as an ONNX file."""
    return colours.write_model(tmp_path / "colours.onnx")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with four pictures of each colour, in a sub-folder each."""
    folder = tmp_path / "pictures"
    colours.write_pictures(folder, each=4)
    return folder


@pytest.fixture
def night(model_file: Path, pictures: Path, tmp_path: Path) -> Callable[..., Summary]:
    """Runs over the pictures into tmp_path/out; options may be changed by name."""

    def call(**changes: Any) -> Summary:
        defaults: dict[str, Any] = {
            "folder": pictures,
            "out": tmp_path / "out",
            "model": model_file,
            "isolate": False,  # so that tests can look into the work, and change it
        }
        return run(RunOptions(**(defaults | changes)))

    return call


@pytest.fixture
def scene(
    boatinfer: Command, night: Callable[..., Summary], tmp_path: Path, model_file: Path
) -> Scene:
    """A folder of pictures, and two models for it."""
    pictures = tmp_path / "pictures"
    colours.write_pictures(pictures, each=8)
    card = colours.card(name="worse", classes=["red", "blue", "green"])
    worse = colours.write_model(tmp_path / "worse.onnx", card=card)
    return Scene(boatinfer, night, tmp_path / "out", pictures, model_file, worse)


@pytest.fixture
def inferred(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Notes the size of every batch that a network is given."""
    infer = Model.infer
    sizes: list[int] = []

    def note(self: Model, batch: Pixels) -> Any:
        sizes.append(len(batch))
        return infer(self, batch)

    monkeypatch.setattr(Model, "infer", note)
    return sizes


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """An S3 server for all tests."""
    with serving() as server:
        yield server


@pytest.fixture
def s3(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The S3 server, which behaves, and an environment that leads to it."""
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": s3_server.url}).items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    s3_server.behave()
    _cached_connection.cache_clear()
    yield s3_server
    s3_server.behave()
    _cached_connection.cache_clear()


@pytest.fixture
def bucket(s3: Server) -> str:
    """The name of an empty bucket."""
    name = f"boats-{uuid.uuid4().hex[:12]}"
    where = {"LocationConstraint": "eu-south-1"}
    s3.client.create_bucket(Bucket=name, CreateBucketConfiguration=where)
    return name


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Scripts of Python in place of the runs of folders, by their names; one that ends with 0."""
    chosen: dict[str, str] = {}
    monkeypatch.setattr("boatinfer.night.process.find_problem", lambda _: None)

    def command(options: RunOptions) -> list[str]:
        return [sys.executable, "-c", chosen.get(options.results_folder.name, "")]

    monkeypatch.setattr("boatinfer.night.process.run_command", command)
    return chosen
