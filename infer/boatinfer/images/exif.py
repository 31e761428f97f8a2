"""EXIF orientation: which way up an image is."""

from __future__ import annotations

import struct

from PIL import Image

from boatinfer.images.warned import unwarned

__all__ = ["EXIF", "of_exif", "orientation_of"]

#: What an EXIF segment of a JPEG begins with (EXIF 2.3, 4.7.2).
EXIF = b"Exif\0\0"

_ORIENTATION_TAG = 0x0112
_ENTRY = 12
#: TIFF 6.0 types of the tag's value, as `struct` names them: SHORT, and LONG as some write.
_KINDS = {3: "H", 4: "I"}


def of_exif(exif: bytes) -> int:
    """The orientation that EXIF data gives, 1 to 8; 1 where there is none, or it is damaged.

    Only the tag itself is looked at (TIFF 6.0, section 2), so other tags that are damaged hide
    nothing.

    Args:
        exif: a TIFF header and what follows, or the same after the six bytes `EXIF`.
    """
    tiff = exif.removeprefix(EXIF)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or tiff[2:4] not in {b"*\0", b"\0*"}:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for place in range(directory + 2, directory + 2 + entries * _ENTRY, _ENTRY):
            tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, place)
            if tag == _ORIENTATION_TAG:
                if kind not in _KINDS or count == 0:
                    return 1
                return _valid(struct.unpack_from(order + _KINDS[kind], tiff, place + 8)[0])
    except struct.error:  # it is cut off
        pass
    return 1


def orientation_of(image: Image.Image) -> int:
    """The orientation of an image that Pillow has opened, 1 to 8; 1 where it says none."""
    exif = image.info.get("exif")
    if isinstance(exif, bytes) and (found := of_exif(exif)) != 1:
        return found
    try:
        with unwarned():
            return _valid(image.getexif().get(_ORIENTATION_TAG))
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
