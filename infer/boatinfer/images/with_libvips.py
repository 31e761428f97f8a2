"""What libvips reads: every TIFF, and large PNG and WebP, which it decodes in small memory.

libvips streams a picture from top to bottom through all steps and never holds the whole.
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

__all__ = ["read_png", "read_tiff", "read_webp"]

#: A large image is first averaged down to no less than this many times the size wanted, so
#: that the last step, Pillow's, still decides how it looks.
_MARGIN = 4
_JPEGS = {tiff.OLD_JPEG, tiff.JPEG}

#: CIE XYZ of the white D50, and Bradford's matrix to D65, which is the white of sRGB.
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
        height: the least height.
        width: the least width.
    """
    convert = _conversion(tags)
    # Damage within a JPEG is a mere warning; other compressions warn of less.
    fail_on = "warning" if tiff.first(tags, tiff.COMPRESSION, 1) in _JPEGS else "error"
    image = _vips().Image.tiffload_buffer(
        tiff.as_rgb(data) if convert else data, access="sequential", fail_on=fail_on
    )
    return _decode(_tiff_rgb(image, tags, convert), height, width)


def read_png(data: bytes, height: int, width: int) -> Image.Image:
    """Decodes a PNG to at least this size."""
    image = _vips().Image.pngload_buffer(data, access="sequential", fail_on="error")
    return _decode(_over_white(_eight_bits(image)), height, width)


def read_webp(data: bytes, height: int, width: int) -> Image.Image:
    """Decodes a WebP, or its first frame, to at least this size."""
    whole = _vips().Image.webpload_buffer(data, access="sequential", fail_on="error")
    scale = min(1.0, _MARGIN * max(height / whole.height, width / whole.width))
    image = _vips().Image.webpload_buffer(data, access="sequential", fail_on="error", scale=scale)
    return _decode(_over_white(image), height, width)


def shrink(pixels: Pixels, height: int, width: int) -> Image.Image:
    """Brings decoded pixels to at least this size.

    Args:
        pixels: uint8 [H, W, 1 or 3], RGB or grey.
        height: the least height.
        width: the least width.
    """
    rows, columns, bands = pixels.shape
    image = _vips().Image.new_from_memory(pixels, columns, rows, bands, "uchar")
    return _decode(image, height, width)


@functools.cache
def _load() -> tuple[Any, int]:
    """The library, and the process that it was started in."""
    import pyvips

    pyvips.cache_set_max(0)  # it would keep the last hundred files
    pyvips.concurrency_set(1)  # the threads are ours
    return pyvips, os.getpid()


def _vips() -> Any:
    """The library.

    Raises:
        ImageError: in a process forked after it was first used, where it would wait for ever.
    """
    library, process = _load()
    if process != os.getpid():
        message = "libvips cannot be used in a forked process; start processes with spawn"
        raise ImageError(Failure.UNSUPPORTED, message)
    return library


def _decode(image: Any, height: int, width: int) -> Image.Image:
    """Runs the pipeline; ``image`` has three bands, or one, of 8 bits."""
    factor = min(image.height // (height * _MARGIN), image.width // (width * _MARGIN))
    if factor > 1 and image.height * image.width >= LARGE:
        image = image.shrink(factor, factor).rint().cast("uchar")
    pixels = np.asarray(image.numpy()).reshape(image.height, image.width, image.bands)
    if image.bands == 3:
        return Image.fromarray(pixels)
    return Image.fromarray(pixels[..., 0]).convert("RGB")


def _conversion(tags: tiff.Tags) -> Callable[[Any], Any] | None:
    """How to make RGB of colours that libvips does not know, or not in every depth."""
    colours = tiff.first(tags, tiff.PHOTOMETRIC, tiff.RGB)
    subsampled = tags.get(tiff.SUBSAMPLING, (2, 2)) != (1, 1)
    by_libtiff = subsampled or tiff.first(tags, tiff.COMPRESSION, 1) in _JPEGS
    if colours == tiff.YCBCR and not by_libtiff:
        return _ycbcr_to_rgb
    return _lab_to_rgb if colours == tiff.LAB else None


def _tiff_rgb(image: Any, tags: tiff.Tags, convert: Callable[[Any], Any] | None) -> Any:
    """One band or three of 8 bits, from whatever colours a TIFF has."""
    colours = {"cmyk": 4, "b-w": 1, "grey16": 1}.get(image.interpretation, 3)
    extra = tags.get(tiff.EXTRA_SAMPLES) or (2,)  # a further channel without a word is alpha
    has_alpha = image.bands > colours and extra[0] in {1, 2}
    shown = image.extract_band(0, n=min(colours, image.bands))
    if convert is None and image.interpretation == "cmyk":
        convert = _cmyk_to_rgb
    shown = convert(shown) if convert else _eight_bits(shown)
    # libvips has divided colours by alpha that were multiplied with it.
    return (
        _over_white(shown.bandjoin(_eight_bits(image.extract_band(colours))))
        if has_alpha
        else shown
    )


def _eight_bits(image: Any) -> Any:
    return (image >> 8).cast("uchar") if image.format == "ushort" else image


def _cmyk_to_rgb(image: Any) -> Any:
    """As Pillow does it: without a profile, which no network asks for."""
    light = _eight_bits(image).invert()
    return (light.extract_band(0, n=3) * light.extract_band(3) / 255).rint().cast("uchar")


def _ycbcr_to_rgb(image: Any) -> Any:
    """ITU-R BT.601, full range: the default of TIFF 6.0, section 21."""
    matrix = [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]
    return (_eight_bits(image) - [0, 128, 128]).recomb(matrix).rint().cast("uchar")


def _lab_to_rgb(image: Any) -> Any:
    """CIE L*a*b* of D50 (TIFF 6.0, section 23): L from 0, a and b in two's complement."""
    half = 128 if image.format == "uchar" else 32768
    lightness = image.extract_band(0) * (100 / (2 * half - 1))
    colours = ((image.extract_band(1, n=2) ^ half) - half) / (half / 128)
    xyz = lightness.bandjoin(colours).copy(interpretation="lab").Lab2XYZ(temp=_D50)
    return xyz.recomb(_D50_TO_D65).copy(interpretation="xyz").colourspace("srgb").cast("uchar")


def _over_white(image: Any) -> Any:
    """Lays a picture over white if it has alpha; 1 to 4 bands of 8 bits."""
    if image.bands in {1, 3}:
        return image
    colours = image.extract_band(0, n=image.bands - 1)
    alpha = image.extract_band(image.bands - 1)
    return (colours * alpha / 255 + alpha.invert()).rint().cast("uchar")
