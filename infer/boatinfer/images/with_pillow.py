"""Decodes with Pillow: first frame, alpha over white, 16 bits to 8."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile

from boatinfer.errors import Failure, ImageError, first_line
from boatinfer.images import jpeg2000, tiff, with_libvips
from boatinfer.images.exif import orientation_of
from boatinfer.images.geometry import MAX_PIXELS
from boatinfer.images.opened import LARGE, OpenedImage
from boatinfer.images.png import without_ancillary_chunks

__all__ = ["open_jpeg2000", "open_png", "open_tiff", "open_webp", "pillow_opener"]

#: Parts of the messages of Pillow and its plugins about unsupported features.
_UNSUPPORTED = re.compile("unsupported|not supported|unimplemented", re.IGNORECASE)
_SHIFT_16_TO_8 = 8
_PNG_COLOURS = 25  # byte of the colour type
_TGA_ALPHA_BITS = 17, 0x0F  # byte and mask in its header

Decode = Callable[[int, int], Image.Image]


def pillow_opener(format_name: str) -> Callable[[bytes], OpenedImage]:
    """Returns a reader for one of Pillow's formats.

    Args:
        format_name: Pillow's name of the format.
    """
    return lambda data: _open(data, format_name)


def open_png(data: bytes) -> OpenedImage:
    """Opens a PNG; libvips decodes large ones, with a quarter of the memory.

    It also decodes those with one transparent colour, which Pillow compares in the wrong depth.
    """
    data = without_ancillary_chunks(data)
    start = data.find(b"IDAT")
    has_transparent_colour = (
        data[_PNG_COLOURS : _PNG_COLOURS + 1] in {b"\0", b"\2"} and b"tRNS" in data[:start]
    )
    min_pixels = 0 if has_transparent_colour else LARGE
    return _open(data, "PNG", lambda *min_size: with_libvips.read_png(data, *min_size), min_pixels)


def open_webp(data: bytes) -> OpenedImage:
    """Opens a WebP; libvips decodes large ones, with a hundredth of the memory."""
    return _open(data, "WEBP", lambda *min_size: with_libvips.read_webp(data, *min_size))


def open_tiff(data: bytes) -> OpenedImage:
    """Opens the first page of a TIFF; libvips decodes it if it supports the compression."""
    tags = tiff.read_directory(data)
    tiff.refuse_unsupported(tags)
    height, width = tags[tiff.HEIGHT][0], tags[tiff.WIDTH][0]
    orientation = tiff.first_value(tags, tiff.ORIENTATION, 1)
    orientation = orientation if 1 <= orientation <= 8 else 1
    if tiff.first_value(tags, tiff.COMPRESSION, 1) not in {tiff.LZMA, tiff.ZSTD}:
        return OpenedImage(
            height,
            width,
            orientation,
            lambda *min_size: with_libvips.read_tiff(data, tags, *min_size),
        )
    opened = _open(data, "TIFF")  # Pillow applies the orientation when it decodes
    height, width = (width, height) if orientation > 4 else (height, width)
    return OpenedImage(height, width, 1, opened.decode)


def open_jpeg2000(data: bytes) -> OpenedImage:
    """Opens a JPEG 2000; large ones are decoded at reduced size."""
    jpeg2000.refuse_unsupported(data)
    return _open(data, "JPEG2000")


def _open(
    data: bytes, format_name: str, large: Decode | None = None, limit: int = LARGE
) -> OpenedImage:
    _reset_pillow_settings()
    try:
        image = Image.open(io.BytesIO(data), formats=(format_name,))
    except Image.DecompressionBombError as error:
        raise ImageError(Failure.TOO_LARGE, f"more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:
        message = first_line(error)
        if _UNSUPPORTED.search(message):
            raise ImageError(Failure.UNSUPPORTED, f"{format_name}: {message}") from error
        raise ImageError(Failure.CORRUPT, f"its header cannot be read as {format_name}") from error

    def decode(height: int, width: int) -> Image.Image:
        if large is not None and image.height * image.width >= limit:
            return large(height, width)
        if format_name == "JPEG2000":
            _reduce(image, jpeg2000.reduction(data, image.height, image.width, height, width))
        with image:
            image.load()
            return _to_rgb(image, data)

    return OpenedImage(image.height, image.width, orientation_of(image), decode)


def _reset_pillow_settings() -> None:
    """Resets settings of Pillow that an application may have changed and that affect pixels."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # it warns above this, and refuses above twice this


def _reduce(image: Image.Image, halvings: int) -> None:
    """Sets the reduction of a JPEG 2000.

    Its reduced height and width are rounded up (ITU T.800, B-15), but Pillow rounds them to the
    nearest number, and then refuses the picture; so its size is rounded up first.
    """
    image.reduce = halvings  # type: ignore[assignment, method-assign]
    width, height = (-(-side >> halvings) << halvings for side in image.size)
    image._size = (width, height)


def _to_rgb(image: Image.Image, data: bytes) -> Image.Image:
    if image.mode in {"F", "I"}:
        raise ImageError(Failure.UNSUPPORTED, "the range of its numbers is not known")
    if image.mode.startswith("I;16"):
        eight_bits = (np.asarray(image) >> _SHIFT_16_TO_8).astype(np.uint8)
        return Image.fromarray(eight_bits).convert("RGB")
    if image.has_transparency_data and not _has_empty_alpha(image, data):
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _has_empty_alpha(image: Image.Image, data: bytes) -> bool:
    """Whether the alpha channel is only padding: BMP and TGA often leave it zero."""
    if image.format not in {"BMP", "DIB", "TGA"} or "A" not in image.getbands():
        return False
    byte, mask = _TGA_ALPHA_BITS
    no_alpha = image.format == "TGA" and not data[byte] & mask
    return no_alpha or image.getchannel("A").getextrema() == (0, 0)
