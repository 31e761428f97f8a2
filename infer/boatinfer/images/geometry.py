"""Turns images upright and resizes them to the network's input."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from boatinfer.errors import Failure, ImageError
from boatinfer.images.spec import ImageSpec

__all__ = [
    "MAX_PIXELS",
    "Pixels",
    "apply_orientation",
    "fit",
    "fit_image",
    "min_decode_size",
    "refuse_bomb",
]

Pixels = npt.NDArray[np.uint8]

#: Larger images are refused by their header. 179 megapixels is Pillow's own limit: more than
#: any common camera has, and few enough that crafted files do not exhaust the memory.
MAX_PIXELS = 178_956_970


def fit(pixels: Pixels, spec: ImageSpec) -> Pixels:
    """Resizes decoded pixels to the network's input, as `read` does.

    Args:
        pixels: uint8 [H, W, 3], RGB, upright.
        spec: size and geometry, from the model's card.

    Returns:
        uint8 [spec.height, spec.width, 3], RGB.
    """
    if pixels.shape[:2] == (spec.height, spec.width):
        return pixels
    return np.asarray(fit_image(Image.fromarray(pixels), spec))


def fit_image(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Resizes an upright RGB image to the network's input."""
    size = (spec.width, spec.height)
    if spec.fit == "crop":
        return ImageOps.fit(image, size, method=_resampling(image, spec))
    if spec.fit == "pad":
        ratio = min(spec.width / image.width, spec.height / image.height)
        inner = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        frame = Image.new("RGB", size)
        offset = ((spec.width - inner[0]) // 2, (spec.height - inner[1]) // 2)
        frame.paste(image.resize(inner, _resampling(image, spec)), offset)
        return frame
    return image if image.size == size else image.resize(size, _resampling(image, spec))


def _resampling(image: Image.Image, spec: ImageSpec) -> Image.Resampling:
    if spec.resize == "nearest":
        return Image.Resampling.NEAREST
    enlarges = image.width < spec.width or image.height < spec.height
    if spec.resize == "bilinear" or enlarges:
        return Image.Resampling.BILINEAR
    return Image.Resampling.BOX


def apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Turns an image upright. The table is EXIF 2.3, tag 0x0112."""
    operation = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return image if operation is None else image.transpose(operation)


def min_decode_size(height: int, width: int, spec: ImageSpec, *, swapped: bool) -> dict[str, int]:
    """The smallest decoded size that need not be enlarged afterwards."""
    target = (spec.width, spec.height) if swapped else (spec.height, spec.width)
    if spec.fit == "pad":
        ratio = min(target[0] / height, target[1] / width)
        target = (math.ceil(height * ratio), math.ceil(width * ratio))
    return {"min_height": target[0], "min_width": target[1]}


def refuse_bomb(height: int, width: int) -> None:
    """Refuses an image with too many pixels (decompression bomb), before decoding.

    Raises:
        ImageError: ``too_large``.
    """
    if height * width > MAX_PIXELS:
        raise ImageError(
            Failure.TOO_LARGE, f"{width} x {height} is more than {MAX_PIXELS:,} pixels"
        )
