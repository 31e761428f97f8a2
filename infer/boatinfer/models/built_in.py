"""The model that comes with the package."""

from __future__ import annotations

from pathlib import Path

from boatinfer.storage.base import Place
from boatinfer.storage.locations import place

__all__ = ["BUILT_IN", "model_place"]

#: Classifies the boats of Venice.
BUILT_IN = Path(__file__).with_name("boats.onnx")


def model_place(text: str | Place) -> Place:
    """Makes a place of the name of a model file; ``boats`` is the built-in model.

    Args:
        text: a path or URI; a file called ``boats`` comes before the built-in model.

    Raises:
        UsageError: as `boatinfer.storage.locations.place`.
    """
    if text == "boats" and not Path(text).is_file():
        return BUILT_IN
    return place(text)
