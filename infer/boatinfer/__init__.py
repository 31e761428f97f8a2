"""Classify folders of images every night, and prove that nothing was skipped.

>>> import boatinfer
>>> model = boatinfer.open_model()  # the built-in boats model
>>> model.predict(["photo.jpg"]).labels
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from boatinfer._version import __version__
from boatinfer.errors import BoatinferError, ImageError

if TYPE_CHECKING:
    from boatinfer.models.model import Model, Predictions, open_model
    from boatinfer.pipeline.options import RunOptions
    from boatinfer.pipeline.run import run
    from boatinfer.results.reader import Features, ResultsReader, read_results
    from boatinfer.results.summary import Summary

# Since 1.29 onnxruntime sends data on its use to its makers unless this is set before it is loaded;
# this package is imported before it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "BoatinferError",
    "Features",
    "ImageError",
    "Model",
    "Predictions",
    "ResultsReader",
    "RunOptions",
    "Summary",
    "__version__",
    "open_model",
    "read_results",
    "run",
]

#: Names that are loaded on first use, and the modules that they are in.
_LAZY_NAMES = {
    "Features": "results.reader",
    "Model": "models.model",
    "Predictions": "models.model",
    "open_model": "models.model",
    "ResultsReader": "results.reader",
    "RunOptions": "pipeline.options",
    "Summary": "results.summary",
    "read_results": "results.reader",
    "run": "pipeline.run",
}


def __dir__() -> list[str]:
    """Lists the lazily loaded names as well."""
    return sorted({*globals(), *_LAZY_NAMES})


def __getattr__(name: str) -> Any:
    """Imports a name from its module on first use, so that importing the package is fast."""
    if name not in _LAZY_NAMES:
        raise AttributeError(f"module 'boatinfer' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"boatinfer.{_LAZY_NAMES[name]}"), name)
