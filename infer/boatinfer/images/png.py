"""Removes the chunks of a PNG that do not affect its pixels."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from boatinfer.errors import Failure, ImageError

__all__ = ["without_ancillary_chunks"]

_SIGNATURE_LENGTH = 8
#: Ancillary chunks that affect the picture: transparency and orientation.
_EXIF = b"eXIf"
_KEPT_ANCILLARY = {b"tRNS", _EXIF}


def without_ancillary_chunks(data: bytes) -> bytes:
    """A PNG with its critical chunks, and the ancillary ones that affect the picture.

    The others (texts, colour profiles, times, further frames of an animation) may be large or
    damaged, and are not needed. EXIF data that follow the pixels come before them in the result,
    so that the orientation is known without decoding.

    Raises:
        ImageError: ``corrupt``: a critical chunk's checksum is wrong.
    """
    chunks = list(_essential_chunks(data))
    late_exif = [chunk for chunk in chunks[2:] if chunk[4:8] == _EXIF]
    if not late_exif and _SIGNATURE_LENGTH + sum(map(len, chunks)) == len(data):
        return data
    chunks[1:] = sorted(chunks[1:], key=lambda chunk: chunk[4:8] != _EXIF)
    return data[:_SIGNATURE_LENGTH] + b"".join(chunks)


def _essential_chunks(data: bytes) -> Iterator[memoryview]:
    view, offset = memoryview(data), _SIGNATURE_LENGTH
    while offset + 12 <= len(data):
        kind = data[offset + 4 : offset + 8]
        end = offset + 12 + int.from_bytes(data[offset : offset + 4])
        is_critical = not kind[0] & 0x20  # PNG 3rd edition, 5.4: an upper-case first letter
        if is_critical or kind in _KEPT_ANCILLARY:
            is_intact = zlib.crc32(view[offset + 4 : end - 4]) == int.from_bytes(
                data[end - 4 : end]
            )
            if is_critical and end <= len(data) and not is_intact:
                message = f"the checksum of a chunk ({kind.decode('latin-1')}) is wrong"
                raise ImageError(Failure.CORRUPT, message)
            if is_critical or is_intact:
                yield view[offset:end]
        if kind == b"IEND":
            return
        offset = end
