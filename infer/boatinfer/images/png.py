"""PNG files without what no pixel needs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from boatinfer.errors import Failure, ImageError

__all__ = ["essential"]

_SIGNATURE = 8
#: Ancillary chunks that say something of the pixels: transparency and orientation.
_WANTED = {b"tRNS", b"eXIf"}


def essential(data: bytes) -> bytes:
    """A PNG's critical chunks, and of the others those that change the picture.

    The rest (texts, colour profiles, times, the further frames of an animation) may be
    large, damaged or wrongly sealed, and decides nothing.

    Raises:
        ImageError: ``corrupt``: a critical chunk's checksum is wrong.
    """
    kept = list(_essential_chunks(data))
    if _SIGNATURE + sum(map(len, kept)) == len(data):
        return data
    return data[:_SIGNATURE] + b"".join(kept)


def _essential_chunks(data: bytes) -> Iterator[memoryview]:
    view, at = memoryview(data), _SIGNATURE
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4])
        is_critical = not kind[0] & 0x20  # PNG 3rd edition, 5.4: an upper-case first letter
        if is_critical or kind in _WANTED:
            sealed = zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])
            if is_critical and end <= len(data) and not sealed:
                message = f"the checksum of a chunk ({kind.decode('latin-1')}) is wrong"
                raise ImageError(Failure.CORRUPT, message)
            if is_critical or sealed:
                yield view[at:end]
        if kind == b"IEND":
            return
        at = end
