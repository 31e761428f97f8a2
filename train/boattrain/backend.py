"""The one place that loads Keras and TensorFlow."""

from __future__ import annotations

import os
from types import ModuleType

from boatinfer.quiet import native_stderr_hidden

__all__ = ["load_keras"]


def load_keras() -> ModuleType:
    """Imports Keras on TensorFlow without the lines that TensorFlow greets with.

    Returns:
        The ``keras`` module.

    Raises:
        ModuleNotFoundError: keras or tensorflow is not installed.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the user's own projects run on
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # By itself TensorFlow does so on processors with VNNI only; all train 1.4 times as fast.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with native_stderr_hidden():
        import keras
        import tensorflow

    tensorflow.get_logger().setLevel("ERROR")  # it warns of compiling anew, which is our affair
    return keras  # type: ignore[no-any-return]
