"""Estimates the memory that reading an image takes, from its header, before decoding.

The figures are bytes per pixel, measured by ``benchmarks/image_memory.py``; measure again after a
change to the reading of a format.
"""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import simplejpeg
from PIL import Image

from boatinfer.images.exif import orientation_of
from boatinfer.images.formats import FORMATS
from boatinfer.images.geometry import min_decode_size
from boatinfer.images.jpeg2000 import reduction
from boatinfer.images.opened import LARGE
from boatinfer.images.spec import ImageSpec
from boatinfer.images.warned import collected_warnings
from boatinfer.images.with_libvips import shrink_factor

__all__ = ["estimate_memory"]

#: Bytes per pixel of Pillow's images, by mode, and of all other modes.
_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_DEFAULT_BYTES_PER_PIXEL = 4

#: Additional memory of decoders: per channel during decoding, and per pixel as long as the image
#: is open.
_DECODING_PER_CHANNEL = {"JPEG2000": 5}
_OPEN_PER_PIXEL = {"WEBP": 8, "AVIF": 5}
#: Per pixel of a JPEG 2000 that is decoded at reduced size, for its code-blocks.
_CODE_BLOCKS = 0.5
#: Per channel all the time: a strip, or libvips' own picture.
_PER_CHANNEL = {"TIFF": 1}

#: Per pixel of large images that libvips decodes strip by strip, or at reduced size.
_STREAMED = {"PNG": 0.45, "TIFF": 0.3, "WEBP": 0.1}
#: Per pixel of the reduced picture, as an array and as Pillow's image; and libvips' own buffers.
_REDUCED = 8
_VIPS_BUFFERS = 16 * 2**20
#: Per pixel of interlaced PNGs and TIFFs of few strips, which are held whole; 16 bits take twice.
_NOT_STREAMED = 5
_FEW_STRIPS = 8
#: Per pixel of WebPs that libwebp does not decode row by row: lossless, and with an alpha
#: plane, for which it allocates twice what it uses.
_WEBP_LOSSLESS, _WEBP_ALPHA = 4.5, 3.0
_BITS, _ROWS_PER_STRIP = 258, 278  # TIFF 6.0

#: Per pixel of a plain PNM, whose numbers are read as 64 bits each.
_PLAIN_PNM = 60

#: Per pixel after decoding: copies in other modes that exist at the same time.
_OPAQUE = 4
_TRANSPARENT = 16
_SIXTEEN_BITS = 6
_TURNED = 4

#: Per pixel of a scaled JPEG, as an array and as Pillow's image; and rotated.
_SCALED = 11
_SCALED_TURNED = 22
#: In addition, of CMYK.
_INKS = 4

#: Maximum per pixel of a JPEG; if the total stays below _SMALL_JPEG, it is the estimate.
_MAX_JPEG, _SMALL_JPEG = 30, 8 * 2**20

#: Rows that libjpeg buffers, in bytes per column.
_JPEG_ROWS = 128

#: What any image takes beside its pixels, and the factor for the allocator's overhead.
_BASE = 256 * 1024
_ROUNDING = 1.1

_SOF = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_WHOLE_IN_MEMORY = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SOS = 0xDA


def estimate_memory(data: bytes, spec: ImageSpec) -> int:
    """Estimates an upper bound of the peak memory of `boatinfer.images.read`.

    Args:
        data: the file's content.
        spec: size and geometry, from the model's card.

    Returns:
        Bytes, including those of the file; only the latter if it is not an image.
    """
    if data.startswith(b"\xff\xd8"):
        frame = _frame(data)
        if isinstance(frame, int):
            return len(data) + frame
        return len(data) + _estimate_jpeg(frame or _frame_by_libjpeg(data), spec)
    return len(data) + _estimate_other(data, spec)


class _Frame(NamedTuple):
    """Data from a JPEG's frame and scan headers (ITU T.81, B.2.2 and B.2.3).

    Attributes:
        height: in pixels.
        width: in pixels.
        samples: of all components, per pixel.
        components: 1 for grey, 3 for colour, 4 for CMYK.
        buffered: whether all coefficients are kept in memory for later scans.
        unusual: whether Pillow decodes it at full size.
        turned: whether it may have an EXIF orientation.
    """

    height: int
    width: int
    samples: float
    components: int
    buffered: bool
    unusual: bool
    turned: bool


def _frame(data: bytes) -> _Frame | int | None:
    """Reads a JPEG's headers.

    Returns:
        For a small JPEG an upper bound in bytes; None if the headers are damaged, which libjpeg
        may tolerate.
    """
    offset, turned, frame = 2, False, None
    try:
        while data[offset] == 0xFF:
            marker = data[offset + 1]
            if marker == 0xFF:  # a fill byte
                offset += 1
                continue
            if marker == _SOS:
                return frame and frame._replace(
                    buffered=frame.buffered or data[offset + 4] < frame.components,
                    turned=turned,
                )
            if marker in _SOF:
                header = data[offset + 4 : offset + 40]
                upper_bound = (
                    _MAX_JPEG * (header[1] << 8 | header[2]) * (header[3] << 8 | header[4]) + _BASE
                )
                if upper_bound <= _SMALL_JPEG:
                    return upper_bound
                frame = _parse_frame(marker, header)
            elif marker == 0xE1 and data[offset + 4 : offset + 8] == b"Exif":
                turned = True
            offset += 2 + (data[offset + 2] << 8 | data[offset + 3])
    except (IndexError, ZeroDivisionError):  # cut off
        pass
    return None


def _parse_frame(marker: int, header: bytes) -> _Frame:
    components = header[5]
    factors = [header[7 + 3 * i] for i in range(components)]
    horizontal, vertical = [f >> 4 for f in factors], [f & 15 for f in factors]
    samples = sum(a * d for a, d in zip(horizontal, vertical, strict=True)) / (
        max(horizontal) * max(vertical)
    )
    return _Frame(
        height=header[1] << 8 | header[2],
        width=header[3] << 8 | header[4],
        samples=samples,
        components=components,
        buffered=marker in _WHOLE_IN_MEMORY,
        unusual=marker > 0xC2 or header[0] != 8 or components not in {1, 3, 4},
        turned=False,
    )


def _frame_by_libjpeg(data: bytes) -> _Frame | None:
    """Gets the size from libjpeg, and assumes the worst for the other fields."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):
        return None
    channels = 4 if colours in {"CMYK", "YCCK"} else 3
    return _Frame(
        height, width, channels, channels, buffered=True, unusual=channels == 4, turned=True
    )


def _estimate_jpeg(frame: _Frame | None, spec: ImageSpec) -> int:
    if frame is None or not frame.height or not frame.width:
        return _BASE
    height, width, turned = frame.height, frame.width, frame.turned and spec.orientation
    coefficients = 2 * frame.samples * height * width if frame.buffered else 0
    # An orientation may swap height and width: take the larger scale.
    eighths = max(_eighths(height, width, spec, swapped) for swapped in {False, turned})
    per_pixel = _SCALED_TURNED if turned else _SCALED
    if frame.components == 4:  # by Pillow, which scales by powers of two
        eighths, per_pixel = 1 << (eighths - 1).bit_length(), per_pixel + _INKS
    scaled = height * width * eighths**2 / 64 * per_pixel
    after_decoding = scaled
    if frame.unusual:
        scaled = height * width * _DEFAULT_BYTES_PER_PIXEL
        after_decoding = scaled + height * width * (_OPAQUE + _TURNED * turned)
    return int(_ROUNDING * max(coefficients + scaled, after_decoding)) + _JPEG_ROWS * width + _BASE


def _eighths(height: int, width: int, spec: ImageSpec, swapped: bool) -> int:
    """The n of the factor n/8 by which libjpeg scales."""
    min_size = min_decode_size(height, width, spec, swapped=swapped)
    return min(
        8, math.ceil(8 * max(min_size["min_height"] / height, min_size["min_width"] / width))
    )


def _estimate_other(data: bytes, spec: ImageSpec) -> int:
    try:
        with collected_warnings(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels = image.width * image.height
            return int(_ROUNDING * pixels * _bytes_per_pixel(image, data, spec)) + _BASE
    except Exception:  # reading it will report the error
        return _BASE


def _bytes_per_pixel(image: Image.Image, data: bytes, spec: ImageSpec) -> float:
    """Bytes per pixel of an image that is open and not loaded."""
    if image.mode.startswith("I"):
        copies = _SIXTEEN_BITS
    else:
        copies = _TRANSPARENT if image.has_transparency_data else _OPAQUE
    if spec.orientation and "exif" in image.info:  # otherwise Pillow would have to decode
        copies = max(copies, _OPAQUE + _TURNED * (orientation_of(image) != 1))
    kind = image.format or ""
    if kind == "PPM" and data[1:2] in b"123":
        return _PLAIN_PNM
    if kind in _STREAMED and image.width * image.height >= LARGE:
        factor = min(_shrink_factor(image, spec, swapped) for swapped in (False, True))
        fixed = _VIPS_BUFFERS / (image.width * image.height) + _REDUCED / factor**2
        return fixed + _streamed_bytes_per_pixel(image, data, kind)
    frame = _BYTES_PER_PIXEL.get(image.mode, _DEFAULT_BYTES_PER_PIXEL)
    channels = len(image.getbands())
    decoding = _DECODING_PER_CHANNEL.get(kind, 0) * channels
    copies += _PER_CHANNEL.get(kind, 0) * channels
    total = frame + max(decoding, copies + _OPEN_PER_PIXEL.get(kind, 0))
    if kind == "JPEG2000":
        min_sizes = [min_decode_size(*image.size[::-1], spec, swapped=s) for s in (False, True)]
        halvings = min(reduction(data, *image.size[::-1], **size) for size in min_sizes)
        total = total / 4**halvings + _CODE_BLOCKS * bool(halvings)
    return total


def _shrink_factor(image: Image.Image, spec: ImageSpec, swapped: bool) -> int:
    """The factor by which libvips reduces height and width."""
    min_size = min_decode_size(image.height, image.width, spec, swapped=swapped)
    return shrink_factor(image.height, image.width, **min_size)


def _streamed_bytes_per_pixel(image: Image.Image, data: bytes, kind: str) -> float:
    """Bytes per pixel of a large image that libvips decodes."""
    if kind == "WEBP":
        if b"VP8L" in data:
            return _WEBP_LOSSLESS
        has_alpha = data[12:16] == b"VP8X" and bool(data[20] & 0x10)  # WebP container, VP8X
        return _WEBP_ALPHA if has_alpha else _STREAMED[kind]
    is_16_bit, is_held_whole = data[24] == 16, "interlace" in image.info
    if kind == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        is_16_bit = 16 in tags.get(_BITS, ())
        has_few_strips = _FEW_STRIPS * tags.get(_ROWS_PER_STRIP, 0) >= image.height
        is_held_whole = has_few_strips or image.info.get("compression") in {"raw", "lzma", "zstd"}
    return _NOT_STREAMED * (1 + is_16_bit) if is_held_whole else _STREAMED[kind]
