"""The kernels of support vector machines."""

from __future__ import annotations

from typing import Literal

__all__ = ["Kernel"]

Kernel = Literal["rbf", "linear"]
