"""Decodes with libvips: every TIFF, and large PNG and WebP files, with little memory.

libvips streams a picture from top to bottom through all steps, without holding all of it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from boatinfer.errors import Failure, ImageError
from boatinfer.images import tiff
from boatinfer.images.geometry import Pixels
from boatinfer.images.opened import LARGE

__all__ = ["read_png", "read_tiff", "read_webp", "shrink", "shrink_factor"]

#: A large image is first averaged down to at least this many times the target size, so that the
#: last step, Pillow's resizing, determines the result.
_SHRINK_MARGIN = 4
_JPEGS = {tiff.OLD_JPEG, tiff.JPEG}

#: CIE XYZ of the white point D50, and Bradford's matrix to D65, the white point of sRGB.
_D50 = [96.422, 100, 82.521]
_D50_TO_D65 = [
    [0.9555766, -0.0230393, 0.0631636],
    [-0.0282895, 1.0099416, 0.0210077],
    [0.0122982, -0.0204830, 1.3299098],
]


def read_tiff(data: bytes, tags: tiff.Tags, height: int, width: int) -> Image.Image:
    """Decodes the first page of a TIFF to at least this size.

    Args:
        data: the file's content.
        tags: its first directory.
        height: minimum height.
        width: minimum width.
    """
    convert = _conversion(tags)
    # Damage within a JPEG is only a warning; other compressions warn about lesser things.
    fail_on = "warning" if tiff.first_value(tags, tiff.COMPRESSION, 1) in _JPEGS else "error"
    image = _pyvips().Image.tiffload_buffer(
        tiff.as_rgb(data) if convert else data, access="sequential", fail_on=fail_on
    )
    return _decode(_tiff_rgb(image, tags, convert), height, width)


def read_png(data: bytes, height: int, width: int) -> Image.Image:
    """Decodes a PNG to at least this size."""
    image = _pyvips().Image.pngload_buffer(data, access="sequential", fail_on="error")
    return _decode(_over_white(_eight_bits(image)), height, width)


def read_webp(data: bytes, height: int, width: int) -> Image.Image:
    """Decodes a WebP, or its first frame, to at least this size."""
    original = _pyvips().Image.webpload_buffer(data, access="sequential", fail_on="error")
    scale = min(1.0, _SHRINK_MARGIN * max(height / original.height, width / original.width))
    image = _pyvips().Image.webpload_buffer(data, access="sequential", fail_on="error", scale=scale)
    return _decode(_over_white(image), height, width)


def shrink(pixels: Pixels, height: int, width: int) -> Image.Image:
    """Shrinks decoded pixels to at least this size.

    Args:
        pixels: uint8 [H, W, 1 or 3], RGB or grey.
        height: minimum height.
        width: minimum width.
    """
    rows, columns, bands = pixels.shape
    image = _pyvips().Image.new_from_memory(pixels, columns, rows, bands, "uchar")
    return _decode(image, height, width)


def shrink_factor(height: int, width: int, min_height: int, min_width: int) -> int:
    """The whole factor by which an image is averaged down; 1 if it is not."""
    if height * width < LARGE:
        return 1
    return max(1, min(height // min_height, width // min_width) // _SHRINK_MARGIN)


@functools.cache
def _load_pyvips() -> tuple[Any, int]:
    """Imports pyvips; returns it and the PID of the process that did."""
    import pyvips

    pyvips.cache_set_max(0)  # by default it keeps the last hundred files
    pyvips.concurrency_set(1)  # parallelism is across images
    return pyvips, os.getpid()


def _pyvips() -> Any:
    """The pyvips module.

    Raises:
        ImageError: in a process forked after the first use, where libvips would hang.
    """
    pyvips, pid = _load_pyvips()
    if pid != os.getpid():
        message = "libvips cannot be used in a forked process; start processes with spawn"
        raise ImageError(Failure.UNSUPPORTED, message)
    return pyvips


def _decode(image: Any, height: int, width: int) -> Image.Image:
    """Runs the pipeline; ``image`` has one or three bands of 8 bits."""
    factor = shrink_factor(image.height, image.width, height, width)
    if factor > 1:
        image = image.shrink(factor, factor).rint().cast("uchar")
    pixels = np.asarray(image.numpy()).reshape(image.height, image.width, image.bands)
    if image.bands == 3:
        return Image.fromarray(pixels)
    return Image.fromarray(pixels[..., 0]).convert("RGB")


def _conversion(tags: tiff.Tags) -> Callable[[Any], Any] | None:
    """The conversion to RGB of colours that libvips does not support in every bit depth."""
    colours = tiff.first_value(tags, tiff.PHOTOMETRIC, tiff.RGB)
    subsampled = tags.get(tiff.SUBSAMPLING, (2, 2)) != (1, 1)
    by_libtiff = subsampled or tiff.first_value(tags, tiff.COMPRESSION, 1) in _JPEGS
    if colours == tiff.YCBCR and not by_libtiff:
        return _ycbcr_to_rgb
    return _lab_to_rgb if colours == tiff.LAB else None


def _tiff_rgb(image: Any, tags: tiff.Tags, convert: Callable[[Any], Any] | None) -> Any:
    """Converts the colours of a TIFF to one or three bands of 8 bits."""
    colours = {"cmyk": 4, "b-w": 1, "grey16": 1}.get(image.interpretation, 3)
    extra = tags.get(tiff.EXTRA_SAMPLES) or (2,)  # an undeclared further channel is alpha
    has_alpha = image.bands > colours and extra[0] in {1, 2}
    result = image.extract_band(0, n=min(colours, image.bands))
    if convert is None and image.interpretation == "cmyk":
        convert = _cmyk_to_rgb
    result = convert(result) if convert else _eight_bits(result)
    # libvips has already divided premultiplied colours by alpha.
    return (
        _over_white(result.bandjoin(_eight_bits(image.extract_band(colours))))
        if has_alpha
        else result
    )


def _eight_bits(image: Any) -> Any:
    return (image >> 8).cast("uchar") if image.format == "ushort" else image


def _cmyk_to_rgb(image: Any) -> Any:
    """Converts like Pillow, without a colour profile."""
    light = _eight_bits(image).invert()
    return (light.extract_band(0, n=3) * light.extract_band(3) / 255).rint().cast("uchar")


def _ycbcr_to_rgb(image: Any) -> Any:
    """Converts by ITU-R BT.601, full range: the default of TIFF 6.0, section 21."""
    matrix = [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]
    return (_eight_bits(image) - [0, 128, 128]).recomb(matrix).rint().cast("uchar")


def _lab_to_rgb(image: Any) -> Any:
    """Converts CIE L*a*b* of D50 (TIFF 6.0, section 23); a and b are in two's complement."""
    half = 128 if image.format == "uchar" else 32768
    lightness = image.extract_band(0) * (100 / (2 * half - 1))
    colours = ((image.extract_band(1, n=2) ^ half) - half) / (half / 128)
    xyz = lightness.bandjoin(colours).copy(interpretation="lab").Lab2XYZ(temp=_D50)
    return xyz.recomb(_D50_TO_D65).copy(interpretation="xyz").colourspace("srgb").cast("uchar")


def _over_white(image: Any) -> Any:
    """Composites a picture over white if it has alpha; 1 to 4 bands of 8 bits."""
    if image.bands in {1, 3}:
        return image
    colours = image.extract_band(0, n=image.bands - 1)
    alpha = image.extract_band(image.bands - 1)
    return (colours * alpha / 255 + alpha.invert()).rint().cast("uchar")
