"""A small folder of labelled images, and Keras."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from boattrain.backend import load_keras
from support import write_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of labelled images that the test may spoil."""
    return write_data(tmp_path / "data")


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    return load_keras()
