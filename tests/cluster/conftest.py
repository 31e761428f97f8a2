"""A model file, a folder of pictures, and a Ray cluster of this machine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

import colours


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two processors, which runs in this process use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


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
