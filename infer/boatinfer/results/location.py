"""The default results folder."""

from __future__ import annotations

from pathlib import Path

from boatinfer.storage.base import Place
from boatinfer.storage.locations import resolve

__all__ = ["default_out"]


def default_out(folder: Place) -> Path:
    """The default results folder, named after the scanned folder."""
    return Path("boatinfer-out") / (resolve(folder).name or "root")
