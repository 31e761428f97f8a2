"""Which reader reads which format, and how what it reads becomes pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boatinfer.errors import WARNING, Failure, ImageError, first_line
from boatinfer.images.extras import open_heif, open_jxl, preview_of_raw
from boatinfer.images.geometry import Pixels, fit_image, least_size, refuse_bomb, turn
from boatinfer.images.opened import Opened
from boatinfer.images.pnm import open_pnm
from boatinfer.images.sniff import kind_of
from boatinfer.images.spec import ImageSpec
from boatinfer.images.with_pillow import (
    open_jpeg2000,
    open_png,
    open_tiff,
    open_webp,
    opener,
)

__all__ = ["FORMATS", "RAW_NOTE", "read_any", "size", "unwrap"]

#: Pillow where nothing else is better: it is the quickest for small images, and holds a whole
#: picture. libvips decodes large ones in small memory, and every kind of TIFF.
_READERS: dict[str, Callable[[bytes], Opened]] = {
    "AVIF": opener("AVIF"),
    "BMP": opener("BMP"),
    "DIB": opener("DIB"),
    "GIF": opener("GIF"),
    "HEIF": open_heif,
    "JPEG2000": open_jpeg2000,
    "JXL": open_jxl,
    "PNG": open_png,
    "PNM": open_pnm,
    "TGA": opener("TGA"),
    "TIFF": open_tiff,
    "WEBP": open_webp,
}

#: Pillow's names of the formats whose headers it can read, for estimates of memory.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA")

RAW_NOTE = f"{WARNING}only the embedded preview of a RAW file is read"


def unwrap(data: bytes, notes: list[str] | None = None) -> bytes:
    """The picture to be read of a file that holds several: the preview of a RAW.

    Args:
        data: the file's content.
        notes: what was done is appended here.

    Raises:
        ImageError: ``unsupported`` or ``corrupt``.
    """
    if kind_of(data) != "RAW":
        return data
    preview = preview_of_raw(data)
    if notes is not None:
        notes.append(RAW_NOTE)
    return preview


def size(data: bytes, *, orientation: bool) -> tuple[int, int]:
    """Tells the height and width of an image, upright or as it is stored, by its header.

    Raises:
        ImageError: ``not_an_image``, ``unsupported``, ``corrupt`` or ``too_large``.
    """
    opened = _open(data)
    height, width = opened.height, opened.width
    return (width, height) if orientation and opened.orientation > 4 else (height, width)


def read_any(data: bytes, spec: ImageSpec) -> Pixels:
    """Reads an image of any format: first frame or page, alpha over white, 16 bits to 8.

    Args:
        data: the content, which `unwrap` has seen.
        spec: size and geometry, from the model's card.

    Returns:
        uint8 [spec.height, spec.width, 3], RGB.

    Raises:
        ImageError: ``not_an_image``, ``unsupported``, ``corrupt`` or ``too_large``.
    """
    opened = _open(data)
    refuse_bomb(opened.height, opened.width)
    orientation = opened.orientation if spec.orientation else 1
    least = least_size(opened.height, opened.width, spec, swapped=orientation > 4)
    try:
        image = opened.decode(least["min_height"], least["min_width"])
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they stumble over
        message = f"it cannot be decoded: {first_line(error)}"
        raise ImageError(Failure.CORRUPT, message) from error
    return np.asarray(fit_image(turn(image, orientation), spec))


def _open(data: bytes) -> Opened:
    kind = kind_of(data)
    if kind is None:
        raise ImageError(Failure.NOT_AN_IMAGE, "no known image format")
    if kind not in _READERS:
        raise ImageError(Failure.UNSUPPORTED, f"{kind} cannot be read here; convert it to JPEG")
    return _READERS[kind](data)
