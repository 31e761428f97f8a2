"""A small folder of labelled images, and Keras."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from boattrain.backend import load_keras
from support import write_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of labelled images that the test may spoil."""
    return write_data(tmp_path / "data")


@pytest.fixture
def uncompiled(keras: ModuleType) -> Iterator[None]:
    """Leaves out compiling, which takes longer than a few steps of a small network."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though", UserWarning)
        yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    return load_keras()
