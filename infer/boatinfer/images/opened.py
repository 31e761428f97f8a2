"""The result of the readers: an opened image whose pixels are decoded later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

__all__ = ["LARGE", "OpenedImage"]

#: Images of at least this many pixels are decoded at reduced size, if possible: 8 megapixels.
LARGE = 2**23


@dataclass(frozen=True)
class OpenedImage:
    """An image whose header has been read.

    Args:
        height: as stored, in pixels.
        width: as stored, in pixels.
        orientation: EXIF orientation, 1 to 8, that is still to be applied.
        decode: takes the minimum height and width, and returns an RGB image, not yet turned,
            alpha over white. A smaller image keeps its size; a large one may be reduced, but
            not below the minimum.
    """

    height: int
    width: int
    orientation: int
    decode: Callable[[int, int], Image.Image]
