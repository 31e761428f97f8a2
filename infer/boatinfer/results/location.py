"""Where the results of a folder are."""

from __future__ import annotations

from pathlib import Path

from boatinfer.storage.base import Place
from boatinfer.storage.locations import resolve

__all__ = ["default_out"]


def default_out(folder: Place) -> Path:
    """Where the results go by default: a folder named after the scanned one."""
    return Path("boatinfer-out") / (resolve(folder).name or "root")
