"""Turns images upright and resizes them to the network's input."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from boatinfer.errors import Failure, ImageError
from boatinfer.images.interpolation import interpolate
from boatinfer.images.spec import ImageSpec

__all__ = [
    "MAX_PIXELS",
    "Pixels",
    "apply_orientation",
    "fit",
    "fit_image",
    "min_decode_size",
    "refuse_bomb",
    "resized_size",
]

Pixels = npt.NDArray[np.uint8]

#: Larger images are refused by their header. 179 megapixels is Pillow's own limit: more than
#: any common camera has, and few enough that crafted files do not exhaust the memory.
MAX_PIXELS = 178_956_970

#: If the resized image has more pixels (a panorama), only the part that is needed is made. Pillow
#: rounds the borders of the part, so in places it is one grey level off.
_MAX_RESIZED = 2**22


def fit(pixels: Pixels, spec: ImageSpec) -> Pixels:
    """Resizes decoded pixels to the network's input, as `read` does.

    Args:
        pixels: uint8 [H, W, 3], RGB, upright.
        spec: size and geometry, from the model's card.

    Returns:
        uint8 `ImageSpec.shape`, RGB.
    """
    if spec.is_direct and pixels.shape == spec.shape:
        return pixels
    return np.asarray(fit_image(Image.fromarray(pixels), spec))


def fit_image(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Resizes an upright RGB image to the network's input; five crops are one below the other."""
    size = (spec.width, spec.height)
    if spec.fit == "crop" and spec.is_direct and spec.antialias:
        return ImageOps.fit(image, size, method=_resampling(image, spec, size))
    inner = resized_size(image.height, image.width, spec)
    if inner == size[::-1] == image.size[::-1]:
        return image
    height, width = min(inner[0], spec.height), min(inner[1], spec.width)
    bottom, right = inner[0] - height, inner[1] - width
    centre = (round(bottom / 2), round(right / 2))  # halves to even, as torchvision does
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)] if spec.crops == 5 else []
    parts = [
        _framed(_resize(image, inner, (top, left, top + height, left + width), spec), spec)
        for top, left in [*corners, centre]
    ]
    if len(parts) == 1:
        return parts[0]
    return Image.fromarray(np.concatenate([np.asarray(part) for part in parts]))


def resized_size(height: int, width: int, spec: ImageSpec) -> tuple[int, int]:
    """Height and width to which an upright image is resized, before it is cropped or padded."""
    shorter = spec.shorter_side
    if shorter is not None:  # as torchvision rounds
        longer = int(shorter * max(height, width) / min(height, width))
        return (shorter, longer) if height <= width else (longer, shorter)
    target = spec.resize_to or (spec.height, spec.width)
    if spec.fit == "stretch":
        return target
    ratios = (target[0] / height, target[1] / width)
    ratio = max(ratios) if spec.fit == "crop" else min(ratios)
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def _resize(
    image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int], spec: ImageSpec
) -> Image.Image:
    """Resizes to height and width, and cuts out top, left, bottom and right."""
    top, left, bottom, right = box
    if not spec.antialias:
        return Image.fromarray(interpolate(np.asarray(image), size, box, resize=spec.resize))
    resampling = _resampling(
        image, spec, (spec.width, spec.height) if spec.is_direct else size[::-1]
    )
    if size[0] * size[1] <= _MAX_RESIZED:
        whole = image.resize(size[::-1], resampling)
        return whole if box == (0, 0, *size) else whole.crop((left, top, right, bottom))
    across, down = image.width / size[1], image.height / size[0]
    source = (left * across, top * down, right * across, bottom * down)
    return image.resize((right - left, bottom - top), resampling, source)


def _framed(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Adds bars to an image that does not fill the network's input."""
    size = (spec.width, spec.height)
    if image.size == size:
        return image
    frame = Image.new("RGB", size, tuple(spec.pad_colour))
    offset = ((size[0] - image.width) // 2, (size[1] - image.height) // 2)
    frame.paste(image, offset if spec.pad_side == "both" else (0, 0))
    return frame


def _resampling(image: Image.Image, spec: ImageSpec, target: tuple[int, int]) -> Image.Resampling:
    if spec.resize != "area":
        return Image.Resampling[spec.resize.upper()]
    enlarges = image.width < target[0] or image.height < target[1]
    return Image.Resampling.BILINEAR if enlarges else Image.Resampling.BOX


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
    """The smallest decoded size that the card allows; by default one that need not be enlarged."""
    if spec.decode == "full":
        return {"min_height": height, "min_width": width}
    target = _decoding_target(*((width, height) if swapped else (height, width)), spec)
    if swapped:
        target = target[::-1]
    if spec.decode == "double":
        target = min(height, 2 * target[0]), min(width, 2 * target[1])
    return {"min_height": target[0], "min_width": target[1]}


def _decoding_target(height: int, width: int, spec: ImageSpec) -> tuple[int, int]:
    """The size to which an upright image is resized, rounded up."""
    if not spec.is_direct:
        target = resized_size(height, width, spec)
        return min(height, target[0]), min(width, target[1])
    target = (spec.height, spec.width)
    if spec.fit == "pad":
        ratio = min(target[0] / height, target[1] / width)
        target = (math.ceil(height * ratio), math.ceil(width * ratio))
    return target


def refuse_bomb(height: int, width: int) -> None:
    """Refuses an image with too many pixels (decompression bomb), before decoding.

    Raises:
        ImageError: ``too_large``.
    """
    if height * width > MAX_PIXELS:
        raise ImageError(
            Failure.TOO_LARGE, f"{width} x {height} is more than {MAX_PIXELS:,} pixels"
        )
