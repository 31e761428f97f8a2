"""EXIF orientation: which way up an image is."""

from __future__ import annotations

from PIL import Image

__all__ = ["of_exif", "orientation_of"]

_ORIENTATION_TAG = 0x0112


def of_exif(segment: bytes) -> int:
    """The orientation that a JPEG's EXIF segment gives, 1 to 8; 1 where it is damaged."""
    exif = Image.Exif()
    try:
        exif.load(segment)
        return _valid(exif.get(_ORIENTATION_TAG))
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1


def orientation_of(image: Image.Image) -> int:
    """The orientation of an image that Pillow has opened, 1 to 8; 1 where it says none."""
    try:
        return _valid(image.getexif().get(_ORIENTATION_TAG))
    except Exception:  # likewise
        return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
