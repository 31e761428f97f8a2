"""EXIF orientation: which way up an image is."""

from __future__ import annotations

import struct

from PIL import Image

from boatinfer.images.warned import collected_warnings

__all__ = ["EXIF_PREFIX", "orientation_of", "parse_orientation"]

#: Prefix of an EXIF segment of a JPEG (EXIF 2.3, 4.7.2).
EXIF_PREFIX = b"Exif\0\0"

_ORIENTATION_TAG = 0x0112
_ENTRY = 12
#: `struct` formats of the TIFF 6.0 types of the value: SHORT, or LONG in some files.
_VALUE_TYPES = {3: "H", 4: "I"}


def parse_orientation(exif: bytes) -> int:
    """The orientation in EXIF data, 1 to 8; 1 if there is none, or the data are damaged.

    Only the tag itself is read (TIFF 6.0, section 2), so damage in other tags does not matter.

    Args:
        exif: TIFF header and data, with or without `EXIF_PREFIX`.
    """
    tiff = exif.removeprefix(EXIF_PREFIX)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or tiff[2:4] not in {b"*\0", b"\0*"}:
        return 1
    try:
        (directory_offset,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entry_count,) = struct.unpack_from(f"{order}H", tiff, directory_offset)
        for offset in range(
            directory_offset + 2, directory_offset + 2 + entry_count * _ENTRY, _ENTRY
        ):
            tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, offset)
            if tag == _ORIENTATION_TAG:
                if kind not in _VALUE_TYPES or count == 0:
                    return 1
                return _valid(struct.unpack_from(order + _VALUE_TYPES[kind], tiff, offset + 8)[0])
    except struct.error:  # truncated
        pass
    return 1


def orientation_of(image: Image.Image) -> int:
    """The orientation of an image that Pillow has opened, 1 to 8; 1 if unknown."""
    exif = image.info.get("exif")
    if isinstance(exif, bytes) and (orientation := parse_orientation(exif)) != 1:
        return orientation
    if exif is None and image.format == "PNG":  # Pillow would decode it to look behind the pixels
        return 1
    try:
        with collected_warnings():
            return _valid(image.getexif().get(_ORIENTATION_TAG))
    except Exception:  # damaged EXIF data are ignored
        return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
