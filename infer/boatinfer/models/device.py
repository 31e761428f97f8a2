"""The device that a network runs on."""

from __future__ import annotations

import enum

__all__ = ["Device"]


class Device(enum.StrEnum):
    """The device: ``auto`` is the GPU if there is one that works, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
