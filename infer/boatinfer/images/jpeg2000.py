"""What a JPEG 2000 code stream's header says (ITU T.800, annex A)."""

from __future__ import annotations

from boatinfer.errors import Failure, ImageError

__all__ = ["levels", "refuse_unknown"]

_START = b"\xff\x4f\xff\x51"  # SOC, and SIZ at once
_CODING_STYLE = b"\xff\x52"
_END = b"\xff\xd9"


def refuse_unknown(data: bytes) -> None:
    """Refuses colours of more than 8 bits: Pillow rounds their brightest values up to black.

    Raises:
        ImageError: ``unsupported``.
    """
    start = data.find(_START) + 2
    components = int.from_bytes(data[start + 38 : start + 40])
    depths = data[start + 40 : start + 40 + 3 * components : 3]
    if components > 1 and any((depth & 0x7F) + 1 > 8 for depth in depths):
        message = "a JPEG 2000 of several channels of more than 8 bits cannot be read here"
        raise ImageError(Failure.UNSUPPORTED, message)


def levels(data: bytes) -> int:
    """How often the picture can be halved while it is decoded.

    One that is cut off is decoded whole, so that what is missing is missed.
    """
    if not data.endswith(_END):
        return 0
    at = data.find(_CODING_STYLE, data.find(_START))
    return data[at + 9] if 0 <= at < len(data) - 9 else 0
