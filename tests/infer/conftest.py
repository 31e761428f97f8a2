"""A model file and a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

import colours


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
