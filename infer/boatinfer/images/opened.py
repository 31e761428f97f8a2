"""What every reader of a format returns: the header's facts, and how to get the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

__all__ = ["LARGE", "Opened"]

#: Pixels from which on an image is decoded at reduced size where its format can: 8 megapixels.
LARGE = 2**23


@dataclass(frozen=True)
class Opened:
    """An image of which only the header has been read.

    Args:
        height: as stored, in pixels.
        width: as stored, in pixels.
        orientation: EXIF orientation, 1 to 8, that is still to be applied.
        decode: takes the least height and width that are needed, and gives an RGB image,
            as stored, alpha over white. An image that is smaller is given as it is; a large
            one may come reduced, but never below the least size.
    """

    height: int
    width: int
    orientation: int
    decode: Callable[[int, int], Image.Image]
