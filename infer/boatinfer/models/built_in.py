"""The built-in model of the package."""

from __future__ import annotations

from pathlib import Path

from boatinfer.storage.base import Place
from boatinfer.storage.locations import place

__all__ = ["BUILT_IN", "model_place"]

#: A classifier of boats in Venice.
BUILT_IN = Path(__file__).with_name("boats.onnx")


def model_place(text: str | Place) -> Place:
    """Parses the path or URI of a model file; ``boats`` is the built-in model.

    Args:
        text: a path or URI; an existing file called ``boats`` takes precedence.

    Raises:
        UsageError: as `boatinfer.storage.locations.place`.
    """
    if text == "boats" and not Path(text).is_file():
        return BUILT_IN
    return place(text)
