"""Reads the header of a JPEG 2000 code stream (ITU T.800, annex A)."""

from __future__ import annotations

from boatinfer.errors import Failure, ImageError
from boatinfer.images.opened import LARGE

__all__ = ["reduction", "refuse_unsupported"]

_START_MARKERS = b"\xff\x4f\xff\x51"  # SOC, directly followed by SIZ
_CODING_STYLE = b"\xff\x52"
_END = b"\xff\xd9"


def refuse_unsupported(data: bytes) -> None:
    """Refuses colours of more than 8 bits: Pillow rounds their brightest values up to black.

    Raises:
        ImageError: ``unsupported``.
    """
    start = data.find(_START_MARKERS) + 2
    components = int.from_bytes(data[start + 38 : start + 40])
    depths = data[start + 40 : start + 40 + 3 * components : 3]
    if components > 1 and any((depth & 0x7F) + 1 > 8 for depth in depths):
        message = "a JPEG 2000 of several channels of more than 8 bits cannot be read here"
        raise ImageError(Failure.UNSUPPORTED, message)


def reduction(data: bytes, height: int, width: int, min_height: int, min_width: int) -> int:
    """How many times a large picture is halved during decoding: as often as its levels allow."""
    if height * width < LARGE:
        return 0
    halvings = min(height // min_height, width // min_width).bit_length() - 1
    return max(0, min(_resolution_levels(data), halvings))


def _resolution_levels(data: bytes) -> int:
    """How many times the picture can be halved.

    A truncated file is decoded at full size, so that the missing data are noticed.
    """
    if not data.endswith(_END):
        return 0
    offset = data.find(_CODING_STYLE, data.find(_START_MARKERS))
    return data[offset + 9] if 0 <= offset < len(data) - 9 else 0
