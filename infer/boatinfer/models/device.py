"""Where a network runs."""

from __future__ import annotations

import enum

__all__ = ["Device"]


class Device(enum.StrEnum):
    """Where to run: ``auto`` takes the GPU if there is one that works."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
