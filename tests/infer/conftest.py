"""A model file and a folder of pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import colours
from boatinfer.images import Pixels
from boatinfer.model import Model
from boatinfer.options import RunOptions
from boatinfer.results import Summary
from boatinfer.run import run


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
        defaults = {"folder": pictures, "out": tmp_path / "out", "model": model_file}
        return run(RunOptions(**(defaults | changes)))

    return call


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
