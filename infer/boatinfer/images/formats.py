"""Chooses the reader by format, and converts what it reads to pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boatinfer.errors import WARNING, Failure, ImageError, first_line
from boatinfer.images.extras import open_heif, open_jxl, preview_of_raw
from boatinfer.images.geometry import (
    Pixels,
    apply_orientation,
    fit_image,
    min_decode_size,
    refuse_bomb,
)
from boatinfer.images.opened import OpenedImage
from boatinfer.images.pnm import open_pnm
from boatinfer.images.sniff import detect_format
from boatinfer.images.spec import ImageSpec
from boatinfer.images.with_pillow import (
    open_jpeg2000,
    open_png,
    open_tiff,
    open_webp,
    pillow_opener,
)

__all__ = ["FORMATS", "RAW_NOTE", "read_any", "size", "unwrap"]

#: Pillow is the default: it is the fastest for small images, but holds the whole picture in
#: memory. libvips decodes large ones with little memory, and every kind of TIFF.
_READERS: dict[str, Callable[[bytes], OpenedImage]] = {
    "AVIF": pillow_opener("AVIF"),
    "BMP": pillow_opener("BMP"),
    "DIB": pillow_opener("DIB"),
    "GIF": pillow_opener("GIF"),
    "HEIF": open_heif,
    "JPEG2000": open_jpeg2000,
    "JXL": open_jxl,
    "PNG": open_png,
    "PNM": open_pnm,
    "TGA": pillow_opener("TGA"),
    "TIFF": open_tiff,
    "WEBP": open_webp,
}

#: Pillow's names of the formats whose headers it reads for memory estimates.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA")

RAW_NOTE = f"{WARNING}only the embedded preview of a RAW file is read"


def unwrap(data: bytes, notes: list[str] | None = None) -> bytes:
    """Replaces a RAW file by its preview; returns other files unchanged.

    Args:
        data: the file's content.
        notes: a note about the preview is appended here.

    Raises:
        ImageError: ``unsupported`` or ``corrupt``.
    """
    if detect_format(data) != "RAW":
        return data
    preview = preview_of_raw(data)
    if notes is not None:
        notes.append(RAW_NOTE)
    return preview


def size(data: bytes, *, orientation: bool) -> tuple[int, int]:
    """Reads the height and width of an image, upright or as stored, from its header.

    Raises:
        ImageError: ``not_an_image``, ``unsupported``, ``corrupt`` or ``too_large``.
    """
    opened = _open(data)
    height, width = opened.height, opened.width
    return (width, height) if orientation and opened.orientation > 4 else (height, width)


def read_any(data: bytes, spec: ImageSpec) -> Pixels:
    """Reads an image of any format: first frame or page, alpha over white, 16 bits to 8.

    Args:
        data: the content, as returned by `unwrap`.
        spec: size and geometry, from the model's card.

    Returns:
        uint8 [spec.height, spec.width, 3], RGB.

    Raises:
        ImageError: ``not_an_image``, ``unsupported``, ``corrupt`` or ``too_large``.
    """
    opened = _open(data)
    refuse_bomb(opened.height, opened.width)
    orientation = opened.orientation if spec.orientation else 1
    min_size = min_decode_size(opened.height, opened.width, spec, swapped=orientation > 4)
    try:
        image = opened.decode(min_size["min_height"], min_size["min_width"])
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise exceptions of many types
        message = f"it cannot be decoded: {first_line(error)}"
        raise ImageError(Failure.CORRUPT, message) from error
    return np.asarray(fit_image(apply_orientation(image, orientation), spec))


def _open(data: bytes) -> OpenedImage:
    kind = detect_format(data)
    if kind is None:
        raise ImageError(Failure.NOT_AN_IMAGE, "no known image format")
    if kind not in _READERS:
        raise ImageError(Failure.UNSUPPORTED, f"{kind} cannot be read here; convert it to JPEG")
    return _READERS[kind](data)
