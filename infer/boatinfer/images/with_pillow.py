"""What Pillow reads: first frame, alpha over white, 16 bits to 8."""

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
from boatinfer.images.opened import LARGE, Opened
from boatinfer.images.png import essential

__all__ = ["open_jpeg2000", "open_png", "open_tiff", "open_webp", "opener"]

#: How Pillow and its plugins say that a file is sound and beyond them.
_UNSUPPORTED = re.compile("unsupported|not supported|unimplemented", re.IGNORECASE)
_SHIFT_16_TO_8 = 8
_PNG_COLOURS = 25  # byte of the colour type
_TGA_ALPHA_BITS = 17, 0x0F  # byte and mask in its header

Decode = Callable[[int, int], Image.Image]


def opener(form: str) -> Callable[[bytes], Opened]:
    """A reader for one of Pillow's formats.

    Args:
        form: Pillow's name for it.
    """
    return lambda data: _open(data, form)


def open_png(data: bytes) -> Opened:
    """A PNG; a large one is decoded by libvips, in a quarter of the memory.

    So is one in which one colour is transparent, of which Pillow thinks in the wrong depth.
    """
    data = essential(data)
    start = data.find(b"IDAT")
    one_clear = data[_PNG_COLOURS : _PNG_COLOURS + 1] in {b"\0", b"\2"} and b"tRNS" in data[:start]
    least = 0 if one_clear else LARGE
    return _open(data, "PNG", lambda *size: with_libvips.read_png(data, *size), least)


def open_webp(data: bytes) -> Opened:
    """A WebP; a large one is decoded by libvips, in a hundredth of the memory."""
    return _open(data, "WEBP", lambda *least: with_libvips.read_webp(data, *least))


def open_tiff(data: bytes) -> Opened:
    """The first page of a TIFF, decoded by libvips where that has the compression."""
    tags = tiff.directory(data)
    tiff.refuse_unknown(tags)
    height, width = tags[tiff.HEIGHT][0], tags[tiff.WIDTH][0]
    orientation = tiff.first(tags, tiff.ORIENTATION, 1)
    orientation = orientation if 1 <= orientation <= 8 else 1
    if tiff.first(tags, tiff.COMPRESSION, 1) not in {tiff.LZMA, tiff.ZSTD}:
        return Opened(
            height, width, orientation, lambda *least: with_libvips.read_tiff(data, tags, *least)
        )
    opened = _open(data, "TIFF")  # which Pillow has turned when it is decoded
    height, width = (width, height) if orientation > 4 else (height, width)
    return Opened(height, width, 1, opened.decode)


def open_jpeg2000(data: bytes) -> Opened:
    """A JPEG 2000; a large one is decoded at reduced size."""
    jpeg2000.refuse_unknown(data)
    return _open(data, "JPEG2000")


def _open(data: bytes, form: str, large: Decode | None = None, limit: int = LARGE) -> Opened:
    _switch_back()
    try:
        image = Image.open(io.BytesIO(data), formats=(form,))
    except Image.DecompressionBombError as error:
        raise ImageError(Failure.TOO_LARGE, f"more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:
        said = first_line(error)
        if _UNSUPPORTED.search(said):
            raise ImageError(Failure.UNSUPPORTED, f"{form}: {said}") from error
        message = f"its header cannot be read as {form}"
        raise ImageError(Failure.CORRUPT, message) from error

    def decode(height: int, width: int) -> Image.Image:
        if large is not None and image.height * image.width >= limit:
            return large(height, width)
        if form == "JPEG2000" and image.height * image.width >= LARGE:
            _reduce(image, data, height, width)
        with image:
            image.load()
            return _to_rgb(image, data)

    return Opened(image.height, image.width, orientation_of(image), decode)


def _switch_back() -> None:
    """Sets back what an application may have switched in Pillow, and what would change pixels."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # beyond that it warns, and refuses twice as much


def _reduce(image: Image.Image, data: bytes, height: int, width: int) -> None:
    """Has a JPEG 2000 decoded at half its size or less, as far as its levels go."""
    halvings = min(image.height // height, image.width // width).bit_length() - 1
    image.reduce = max(0, min(jpeg2000.levels(data), halvings))  # type: ignore[assignment, method-assign]


def _to_rgb(image: Image.Image, data: bytes) -> Image.Image:
    if image.mode in {"F", "I"}:
        raise ImageError(Failure.UNSUPPORTED, "the range of its numbers is not known")
    if image.mode.startswith("I;16"):
        narrow = (np.asarray(image) >> _SHIFT_16_TO_8).astype(np.uint8)
        return Image.fromarray(narrow).convert("RGB")
    if image.has_transparency_data and not _has_empty_alpha(image, data):
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _has_empty_alpha(image: Image.Image, data: bytes) -> bool:
    """Whether a fourth channel is only there to fill up: BMP and TGA often leave it zero."""
    if image.format not in {"BMP", "DIB", "TGA"} or "A" not in image.getbands():
        return False
    byte, mask = _TGA_ALPHA_BITS
    no_alpha = image.format == "TGA" and not data[byte] & mask
    return no_alpha or image.getchannel("A").getextrema() == (0, 0)
