"""A small network of convolutions that tells colours apart, as an ONNX file with a card."""

from __future__ import annotations

from pathlib import Path

import pytest

import colours
import convnet
from boatexport.exporting import export_model
from boatexport.options import ExportOptions
from support import Trained


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of each colour, in class folders."""
    folder = tmp_path_factory.mktemp("pictures")
    colours.write_pictures(folder, each=40)
    return folder


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """The network as `boatinfer export` would write it, but for the tidying."""
    return convnet.write_model(tmp_path / "convnet.onnx")


@pytest.fixture(scope="session")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model as ONNX."""
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    export_model(ExportOptions(trained.output, path))
    return path
