"""What a run tells of itself while it works."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Progress"]


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        total: images that need work; None until the whole folder is listed.
        done: how many of them are done.
        failed: how many of those failed.
    """

    total: int | None
    done: int
    failed: int
