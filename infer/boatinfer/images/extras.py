"""Formats that need an extra of the package: HEIF, JPEG XL, and RAW by its embedded preview."""

from __future__ import annotations

import importlib
import io
from dataclasses import replace
from types import ModuleType

from PIL import Image

from boatinfer.errors import Failure, ImageError, first_line, install_hint
from boatinfer.images.geometry import refuse_bomb
from boatinfer.images.jxl import jxl_size
from boatinfer.images.opened import OpenedImage
from boatinfer.images.with_pillow import pillow_opener

__all__ = ["open_heif", "open_jxl", "preview_of_raw"]

#: A preview shorter than the sensor's length divided by this is a thumbnail, not the picture.
_MIN_PREVIEW_DIVISOR = 8


def _import_extra(name: str, extra: str, format_name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f"{format_name} needs the extra [{extra}]: {install_hint(extra)}"
        raise ImageError(Failure.UNSUPPORTED, message) from error


def open_heif(data: bytes) -> OpenedImage:
    """Opens HEIC or another HEIF, as written by telephones and cameras.

    Raises:
        ImageError: ``unsupported`` without the extra, ``corrupt``.
    """
    _import_extra("pillow_heif", "heic", "HEIC").register_heif_opener()
    return pillow_opener("HEIF")(data)


def open_jxl(data: bytes) -> OpenedImage:
    """Opens a JPEG XL.

    Raises:
        ImageError: ``unsupported`` without the extra, ``corrupt``.
    """
    _import_extra("pillow_jxl", "jxl", "JPEG XL")
    refuse_bomb(*jxl_size(data))  # checked first: the plugin decodes on opening
    opened = pillow_opener("JXL")(data)
    # EXIF applies to an embedded JPEG; a native JPEG XL is turned already (ISO/IEC 18181-2).
    return opened if b"jbrd" in data else replace(opened, orientation=1)


def preview_of_raw(data: bytes) -> bytes:
    """The largest preview in a camera's RAW file, as a JPEG or PPM.

    Raises:
        ImageError: ``unsupported`` without the extra or without a preview, ``corrupt``.
    """
    rawpy = _import_extra("rawpy", "raw", "RAW")
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            length, preview = max(raw.sizes.width, raw.sizes.height), raw.extract_thumb()
    except (
        rawpy.LibRawFileUnsupportedError,
        rawpy.LibRawNoThumbnailError,
        rawpy.LibRawUnsupportedThumbnailError,
    ) as error:
        message = "a RAW file without a preview that can be read"
        raise ImageError(Failure.UNSUPPORTED, message) from error
    except rawpy.LibRawError as error:
        message = f"a RAW file that cannot be read: {first_line(error)}"
        raise ImageError(Failure.CORRUPT, message) from error
    if preview.format is rawpy.ThumbFormat.JPEG:
        picture = bytes(preview.data)
    else:
        height, width, _ = preview.data.shape
        picture = b"P6 %d %d 255\n" % (width, height) + preview.data.tobytes()
    with Image.open(io.BytesIO(picture)) as opened:
        if max(opened.size) * _MIN_PREVIEW_DIVISOR < length:
            message = (
                f"a RAW file with no more than a thumbnail of {opened.width} x {opened.height}"
            )
            raise ImageError(Failure.UNSUPPORTED, message)
    return picture
