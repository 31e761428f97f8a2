"""What reading an image takes, told by its header before anything is decoded.

The figures are bytes for each pixel, and ``benchmarks/image_memory.py`` measures them: whoever
changes how a format is read, measures again.
"""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import simplejpeg
from PIL import Image

from boatinfer.images.exif import orientation_of
from boatinfer.images.formats import FORMATS
from boatinfer.images.geometry import least_size
from boatinfer.images.opened import LARGE
from boatinfer.images.spec import ImageSpec
from boatinfer.images.warned import unwarned

__all__ = ["needed"]

#: Pillow's pixels, by mode; those of all other modes have four bytes.
_FRAME = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_WIDE = 4

#: What decoders hold beside them: for each channel until these are complete, and in all as long
#: as the image is open.
_DECODING = {"JPEG2000": 5}
_OPEN = {"WEBP": 8, "AVIF": 5}
#: And for each channel all the time, a strip, or libvips' own picture.
_CHANNEL = {"TIFF": 1}

#: What large images take for each pixel, which libvips decodes strip by strip, or reduced.
_STREAMED = {"PNG": 1.5, "TIFF": 1.0, "WEBP": 0.5}
#: An interlaced PNG and a TIFF of few strips are held whole, and those of 16 bits take twice that.
_NOT_STREAMED = 5
_FEW_STRIPS = 8
_BITS, _ROWS_PER_STRIP = 258, 278  # TIFF 6.0

#: A PNM in plain numbers, which are read as 64 bits each.
_PLAIN = 60

#: What comes after decoding: copies in other modes, all of which are there at the same time.
_OPAQUE = 4
_TRANSPARENT = 16
_SIXTEEN_BITS = 6
_TURNED = 4

#: A scaled JPEG, as an array and as Pillow's image; and turned.
_SCALED = 11
_SCALED_TURNED = 22

#: The most that a JPEG takes; as long as that is little, nobody looks more closely.
_MOST, _LITTLE = 30, 8 * 2**20

#: Rows that libjpeg has in hand, in bytes for each column.
_ROWS = 128

#: What any image takes beside its pixels, and what an allocator needs beside what it gives.
_LEAST = 256 * 1024
_ROUNDING = 1.1

_SOF = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_WHOLE_IN_MEMORY = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SOS = 0xDA


def needed(data: bytes, spec: ImageSpec) -> int:
    """Estimates the memory that `boatinfer.images.read` takes at its peak, from above.

    Args:
        data: the file's content.
        spec: size and geometry, from the model's card.

    Returns:
        Bytes, those of the file included; of what is no image only these.
    """
    if data.startswith(b"\xff\xd8"):
        frame = _frame(data)
        if isinstance(frame, int):
            return len(data) + frame
        return len(data) + _jpeg(frame or _asked(data), spec)
    return len(data) + _other(data, spec)


class _Frame(NamedTuple):
    """What a JPEG's frame and scan headers say (ITU T.81, B.2.2 and B.2.3).

    Attributes:
        height: in pixels.
        width: in pixels.
        samples: of all components, for each pixel.
        components: 3 for colours, 4 for inks.
        buffered: whether all coefficients wait in memory for later scans.
        unusual: whether it is Pillow's to read.
        turned: whether it is to be turned upright.
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
        Of a small one bytes that are enough; None where the headers are out of order, which
        libjpeg may forgive.
    """
    position, turned, found = 2, False, None
    try:
        while data[position] == 0xFF:
            marker = data[position + 1]
            if marker == 0xFF:  # a fill byte
                position += 1
                continue
            if marker == _SOS:
                return found and found._replace(
                    buffered=found.buffered or data[position + 4] < found.components,
                    turned=turned,
                )
            if marker in _SOF:
                header = data[position + 4 : position + 40]
                most = _MOST * (header[1] << 8 | header[2]) * (header[3] << 8 | header[4]) + _LEAST
                if most <= _LITTLE:
                    return most
                found = _of_header(marker, header)
            elif marker == 0xE1 and data[position + 4 : position + 8] == b"Exif":
                turned = True
            position += 2 + (data[position + 2] << 8 | data[position + 3])
    except (IndexError, ZeroDivisionError):  # cut off
        pass
    return None


def _of_header(marker: int, header: bytes) -> _Frame:
    components = header[5]
    factors = [header[7 + 3 * i] for i in range(components)]
    across, down = [f >> 4 for f in factors], [f & 15 for f in factors]
    samples = sum(a * d for a, d in zip(across, down, strict=True)) / (max(across) * max(down))
    return _Frame(
        height=header[1] << 8 | header[2],
        width=header[3] << 8 | header[4],
        samples=samples,
        components=components,
        buffered=marker in _WHOLE_IN_MEMORY,
        unusual=marker > 0xC2 or header[0] != 8 or components not in {1, 3},
        turned=False,
    )


def _asked(data: bytes) -> _Frame | None:
    """Asks libjpeg for the size, and takes the worst for the rest."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):
        return None
    inks = 4 if colours in {"CMYK", "YCCK"} else 3
    return _Frame(height, width, inks, inks, buffered=True, unusual=inks == 4, turned=True)


def _jpeg(frame: _Frame | None, spec: ImageSpec) -> int:
    if frame is None or not frame.height or not frame.width:
        return _LEAST
    height, width, turned = frame.height, frame.width, frame.turned and spec.orientation
    coefficients = 2 * frame.samples * height * width if frame.buffered else 0
    # An orientation lets height and width change places: take the larger.
    eighths = max(_eighths(height, width, spec, swapped) for swapped in {False, turned})
    scaled = height * width * eighths**2 / 64 * (_SCALED_TURNED if turned else _SCALED)
    after = scaled
    if frame.unusual:
        scaled = height * width * _WIDE
        after = scaled + height * width * (_OPAQUE + _TURNED * turned)
    return int(_ROUNDING * max(coefficients + scaled, after)) + _ROWS * width + _LEAST


def _eighths(height: int, width: int, spec: ImageSpec, swapped: bool) -> int:
    """The n of n/8 by which libjpeg scales."""
    least = least_size(height, width, spec, swapped=swapped)
    return min(8, math.ceil(8 * max(least["min_height"] / height, least["min_width"] / width)))


def _other(data: bytes, spec: ImageSpec) -> int:
    try:
        with unwarned(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels = image.width * image.height
            return int(_ROUNDING * pixels * _per_pixel(image, data, spec)) + _LEAST
    except Exception:  # whoever reads it will say what is wrong
        return _LEAST


def _per_pixel(image: Image.Image, data: bytes, spec: ImageSpec) -> float:
    """Bytes for each pixel, of an image that is open and not loaded."""
    if image.mode.startswith("I"):
        copies = _SIXTEEN_BITS
    else:
        copies = _TRANSPARENT if image.has_transparency_data else _OPAQUE
    if spec.orientation and "exif" in image.info:  # elsewhere Pillow would have to decode
        copies = max(copies, _OPAQUE + _TURNED * (orientation_of(image) != 1))
    kind = image.format or ""
    if kind == "PPM" and data[1:2] in b"123":
        return _PLAIN
    if kind in _STREAMED and image.width * image.height >= LARGE:
        return _streamed(image, data, kind)
    frame = _FRAME.get(image.mode, _WIDE)
    channels = len(image.getbands())
    decoding = _DECODING.get(kind, 0) * channels
    copies += _CHANNEL.get(kind, 0) * channels
    return frame + max(decoding, copies + _OPEN.get(kind, 0))


def _streamed(image: Image.Image, data: bytes, kind: str) -> float:
    """Bytes for each pixel of a large image that libvips decodes."""
    deep, whole = data[24] == 16, "interlace" in image.info
    if kind == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        deep = 16 in tags.get(_BITS, ())
        few = _FEW_STRIPS * tags.get(_ROWS_PER_STRIP, 0) >= image.height
        whole = few or image.info.get("compression") in {"raw", "lzma", "zstd"}
    return _NOT_STREAMED * (1 + deep) if whole else _STREAMED[kind]
