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
from boatinfer.images.opened import Opened
from boatinfer.images.with_pillow import opener

__all__ = ["open_heif", "open_jxl", "preview_of_raw"]

#: A preview of less than this part of the sensor's length is a thumbnail, and not the picture.
_LEAST_PREVIEW = 8


def _module(name: str, extra: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f"{what} needs the extra [{extra}]: {install_hint(extra)}"
        raise ImageError(Failure.UNSUPPORTED, message) from error


def open_heif(data: bytes) -> Opened:
    """HEIC or another HEIF: what telephones and cameras write.

    Raises:
        ImageError: ``unsupported`` without the extra, ``corrupt``.
    """
    _module("pillow_heif", "heic", "HEIC").register_heif_opener()
    return opener("HEIF")(data)


def open_jxl(data: bytes) -> Opened:
    """JPEG XL.

    Raises:
        ImageError: ``unsupported`` without the extra, ``corrupt``.
    """
    _module("pillow_jxl", "jxl", "JPEG XL")
    refuse_bomb(*jxl_size(data))  # the plugin decodes a file as soon as it is opened
    opened = opener("JXL")(data)
    # EXIF holds for a JPEG within; a picture of JPEG XL has been turned (ISO/IEC 18181-2).
    return opened if b"jbrd" in data else replace(opened, orientation=1)


def preview_of_raw(data: bytes) -> bytes:
    """The largest picture that a camera put into its RAW file, a JPEG or a PPM.

    Raises:
        ImageError: ``unsupported`` without the extra or without a preview, ``corrupt``.
    """
    rawpy = _module("rawpy", "raw", "RAW")
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            whole, preview = max(raw.sizes.width, raw.sizes.height), raw.extract_thumb()
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
        if max(opened.size) * _LEAST_PREVIEW < whole:
            message = (
                f"a RAW file with no more than a thumbnail of {opened.width} x {opened.height}"
            )
            raise ImageError(Failure.UNSUPPORTED, message)
    return picture
