"""JPEG, through libjpeg-turbo."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

from boatinfer.errors import Failure, ImageError
from boatinfer.images.exif import of_exif
from boatinfer.images.geometry import Pixels, fit, least_size, refuse_bomb, turn
from boatinfer.models.card import ImageSpec

__all__ = ["read_jpeg"]


def read_jpeg(data: bytes, spec: ImageSpec, damage: list[str] | None) -> Pixels | None:
    """Returns None for a kind of JPEG that is Pillow's to read."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError) as error:
        if _is_unusual(data):
            return None
        message = "a JPEG whose header is cut off or damaged"
        raise ImageError(Failure.CORRUPT, message) from error
    refuse_bomb(height, width)
    orientation = _orientation(data) if spec.orientation else 1
    scale = least_size(height, width, spec, swapped=orientation > 4)
    inks = colours in {"CMYK", "YCCK"}
    try:
        pixels = simplejpeg.decode_jpeg(data, "CMYK" if inks else "RGB", **scale)
    except ValueError as error:
        if "nsupported" in str(error):
            return None
        if damage is None:
            raise ImageError(Failure.CORRUPT, str(error)) from error
        if not inks:
            pixels = _salvage(data, scale)
        damage.append(str(error))
    if inks:  # which way round its inks are, Pillow knows
        return None
    if orientation != 1:
        pixels = np.asarray(turn(Image.fromarray(pixels), orientation))
    return fit(pixels, spec)


def _salvage(data: bytes, scale: dict[str, int]) -> Pixels:
    """Decodes what there is of a damaged JPEG."""
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", strict=False, **scale)
    except ValueError as error:
        raise ImageError(Failure.CORRUPT, f"{error} (nothing could be decoded)") from error
    return pixels


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and contents of a JPEG's segments, up to where the picture begins."""
    position = 2
    while data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        length = max(length, 2)  # it counts itself; libjpeg takes less for that
        if marker == 0xDA:
            return
        yield marker, data[position + 4 : position + 2 + length]
        position += 2 + length


def _is_unusual(data: bytes) -> bool:
    """Whether a JPEG is lossless, arithmetic, 12-bit, or of uncommon sampling (ITU T.81, B.2.2)."""
    for marker, frame in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC} and len(frame) >= 9:
            usual = marker <= 0xC2 and frame[0] == 8
            factors = [frame[i] for i in range(7, len(frame), 3)]
            return not usual or any(f not in {0x11, 0x12, 0x21, 0x22, 0x41} for f in factors[:1])
    return False


def _orientation(data: bytes) -> int:
    """EXIF orientation 1 to 8; Pillow is asked only where there is an EXIF segment."""
    for marker, content in _segments(data):
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            return of_exif(content)
    return 1
