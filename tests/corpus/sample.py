"""A file of the corpus, and the picture that most of them hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boatinfer.errors import Failure

__all__ = ["Array", "Sample", "over_white", "scene", "turned_back"]

Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """A file and what is right for it.

    Args:
        name: ``format/kind``.
        data: the file's content.
        right: uint8 [H, W, 3], RGB, upright; or why it cannot be read.
    """

    name: str
    data: bytes
    right: Array | Failure


def scene(height: int = 60, width: int = 100) -> Array:
    """A picture that no turn, mirror, exchange of channels or negative leaves as it is."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = columns * 255 // (width - 1)
    green = rows * 255 // (height - 1)
    blue = np.where((rows - height / 4) ** 2 + (columns - width / 4) ** 2 < height**2 / 30, 230, 40)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def over_white(pixels: Array, alpha: Array) -> Array:
    """Colours [H, W, 3] with alpha [H, W] over white."""
    share = alpha[..., None] / 255
    return (pixels * share + 255 * (1 - share)).round().astype(np.uint8)


def turned_back(upright: Array, orientation: int) -> Array:
    """How a picture of this EXIF orientation is stored."""
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }
    return np.ascontiguousarray(stored[orientation])
