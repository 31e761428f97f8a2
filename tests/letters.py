"""Rows of parts as a classifier of three letters would give them."""

from __future__ import annotations

import numpy as np

from boatinfer.results.store.parts import Parts
from boatinfer.results.store.rows import Row

CLASSES = ["a", "b", "c"]


def row(path: str, value: float, features: bool = False) -> Row:
    """An image of which a model says ``[value, 1 - value, 0]``."""
    probabilities = np.array([value, 1 - value, 0], np.float32)
    vector = np.array([value, 2 * value], np.float32) if features else None
    content = f"{abs(hash((path, value))):032x}"
    return Row(path, 1, 2, content, probabilities=probabilities, features=vector)


def everything(parts: Parts) -> dict[str, tuple[float, list[float] | None]]:
    """What all readers see: path to first probability and features."""
    seen = {}
    columns = ["path", "probabilities", "features"]
    for table in parts.read(parts.index(), columns):
        for found in table.to_pylist():
            assert found["path"] not in seen
            seen[found["path"]] = found["probabilities"][0], found.get("features")
    return seen
