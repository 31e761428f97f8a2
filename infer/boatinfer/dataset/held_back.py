"""Which labelled images no training sees, so that they can tell how good a model is."""

from __future__ import annotations

__all__ = ["HELD_BACK", "in_share"]

#: Share of the labelled images that are held back by default.
HELD_BACK = "20%"


def in_share(content: str, share: float) -> bool:
    """Whether an image is in a share of all, which is the same whenever it is asked.

    Args:
        content: xxh3-128 of the file, hex.
        share: from 0 to 1; a smaller share is a part of a larger one.
    """
    return int(content[:8], 16) / 2**32 < share
