"""Reads the size of a JPEG XL from its header (ISO/IEC 18181-1, annex D.2; container: 18181-2)."""

from __future__ import annotations

from boatinfer.errors import Failure, ImageError

__all__ = ["jxl_size"]

_CODE_STREAM = b"\xff\x0a"
_RATIOS = [(1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)]
_SIZE_BITS = [9, 13, 18, 30]


class _Bits:
    """Reads numbers, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self.rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self.rest & ((1 << count) - 1)
        self.rest >>= count
        return value


def jxl_size(data: bytes) -> tuple[int, int]:
    """Reads the coded height and width, before any rotation.

    Raises:
        ImageError: ``corrupt``.
    """
    start = 0 if data.startswith(_CODE_STREAM) else _find_code_stream(data)
    bits = _Bits(data[start + 2 : start + 14])
    small = bits.take(1)

    def length() -> int:
        return 8 * (bits.take(5) + 1) if small else bits.take(_SIZE_BITS[bits.take(2)]) + 1

    height = length()
    ratio = bits.take(3)
    if ratio == 0:
        return height, length()
    numerator, denominator = _RATIOS[ratio - 1]
    return height, height * numerator // denominator


def _find_code_stream(data: bytes) -> int:
    """The offset of the code stream: in a box of its own, or in the first of several."""
    offset = 0
    while offset + 16 <= len(data):
        length = int.from_bytes(data[offset : offset + 4])
        kind = data[offset + 4 : offset + 8]
        head = 8
        if length == 1:
            length, head = int.from_bytes(data[offset + 8 : offset + 16]), 16
        if kind in {b"jxlc", b"jxlp"}:
            return offset + head + (4 if kind == b"jxlp" else 0)
        if length < head:
            break
        offset += length
    raise ImageError(Failure.CORRUPT, "a JPEG XL without a picture")
