"""Bytes to pixels, exactly as a model's card says; the only image reader of the project.

Training, export, inference and tests all call `read`, so the same bytes give the same
pixels everywhere.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from boatinfer.errors import Failure, ImageError, first_line
from boatinfer.models.card import ImageSpec
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.bucket import Status as BucketStatus
from boatinfer.storage.place import Place, Status

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Pixels", "fit", "load", "load_in", "read", "size"]

Pixels = npt.NDArray[np.uint8]

#: Larger images are refused by their header. 179 megapixels is Pillow's own limit: above
#: every camera in common use, below what lets a few crafted files exhaust the memory.
MAX_PIXELS = 178_956_970
#: A larger file is refused unread.
MAX_BYTES = 2**30

# Pillow warns from half of that size on; the limit above is the one that counts here.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_JPEG = b"\xff\xd8\xff"
#: The brands that begin a HEIC file (ISO/IEC 23008-12, annex B.4); ``mif1`` may hold other codecs.
_HEIC = re.compile(rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)
_HEIC_SAYS = "HEIC cannot be read here; convert it to JPEG"
_ORIENTATION_TAG = 0x0112
_SHIFT_16_TO_8 = 8

#: What Pillow may try. Left out above all is EPS, for which it would start Ghostscript.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA")

# Opening a named pipe would wait for a writer for ever; this way it is seen for what it is.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def load(path: Path | str) -> tuple[bytes, os.stat_result]:
    """Reads an image file.

    Returns:
        Its content, and its status as of now, so that a later change can be seen.

    Raises:
        ImageError: ``vanished``, ``unreadable`` or ``too_large``.
    """
    try:
        handle = os.open(path, _FLAGS)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
                raise ImageError(Failure.UNREADABLE, f"it is {kind}")
            if status.st_size > MAX_BYTES:
                raise ImageError(Failure.TOO_LARGE, f"the file has {status.st_size:,} bytes")
            return _content(handle, status.st_size), status
        finally:
            os.close(handle)
    except FileNotFoundError as error:
        message = "no such file (any more), or a link to nothing"
        raise ImageError(Failure.VANISHED, message) from error
    except OSError as error:
        raise ImageError(Failure.UNREADABLE, error.strerror or str(error)) from error
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to read the file") from error


def _content(handle: int, size: int) -> bytes:
    """All that an open file holds, in one call to the system unless it is not of its size."""
    content = os.read(handle, size + 1)
    if len(content) == size:
        return content
    while more := os.read(handle, size + 1):
        content += more
    return content


def load_in(folder: Place, path: str) -> tuple[bytes, Status]:
    """Reads an image of a folder, wherever that is.

    Args:
        folder: on this machine or in a bucket.
        path: relative to it; on this machine it may be absolute.

    Raises:
        ImageError: ``vanished``, ``unreadable`` or ``too_large``.
    """
    if isinstance(folder, BucketPath):
        return _load_object(folder / path)
    return load(os.path.join(str(folder), path))  # noqa: PTH118


def _load_object(path: BucketPath) -> tuple[bytes, BucketStatus]:
    try:
        data, status = path.load(MAX_BYTES)
    except FileNotFoundError as error:
        raise ImageError(Failure.VANISHED, f"{error.strerror} (any more)") from error
    except OSError as error:
        raise ImageError(Failure.UNREADABLE, error.strerror or str(error)) from error
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to read the object") from error
    if status.st_size > MAX_BYTES:
        raise ImageError(Failure.TOO_LARGE, f"the object has {status.st_size:,} bytes")
    return data, status


def read(data: bytes, spec: ImageSpec, damage: list[str] | None = None) -> Pixels:
    """Decodes an image to the size that the network wants.

    A JPEG is decoded straight to the smallest scale (n/8) that is at least the target
    size, and a warning of the decoder counts as corruption: a damaged picture is an error
    and never a grey half. Other formats, and kinds of JPEG that libjpeg-turbo does not
    know, go through Pillow.

    Args:
        data: the file's content.
        spec: size and geometry, from the model's card.
        damage: if given, a damaged JPEG is decoded as far as it goes and the decoder's
            warning is appended here.

    Returns:
        uint8 [spec.height, spec.width, 3], RGB.

    Raises:
        ImageError: ``not_an_image``, ``corrupt`` or ``too_large``.
    """
    if not data:
        raise ImageError(Failure.NOT_AN_IMAGE, "the file is empty")
    try:
        decoded = _read_jpeg(data, spec, damage) if data.startswith(_JPEG) else None
        return decoded if decoded is not None else _read_any(data, spec)
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to decode the image") from error


def size(data: bytes) -> tuple[int, int]:
    """Tells the height and width of an image, upright, by its header.

    Raises:
        ImageError: ``corrupt``; what `read` would say may be more exact.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            # A TIFF says how it will be once Pillow has turned it.
            lies = image.format != "TIFF" and _orientation_of(image) > 4
            return (image.width, image.height) if lies else (image.height, image.width)
    except Exception as error:
        message = f"its header cannot be read: {first_line(error)}"
        raise ImageError(Failure.CORRUPT, message) from error


def fit(pixels: Pixels, spec: ImageSpec) -> Pixels:
    """Brings decoded pixels to the network's size, as `read` does.

    Args:
        pixels: uint8 [H, W, 3], RGB, upright.
        spec: size and geometry, from the model's card.

    Returns:
        uint8 [spec.height, spec.width, 3], RGB.
    """
    if pixels.shape[:2] == (spec.height, spec.width):
        return pixels
    return np.asarray(_fit(Image.fromarray(pixels), spec))


def _read_jpeg(data: bytes, spec: ImageSpec, damage: list[str] | None) -> Pixels | None:
    """Returns None for a kind of JPEG that is Pillow's to read."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError) as error:
        if _is_unusual(data):
            return None
        message = "a JPEG whose header is cut off or damaged"
        raise ImageError(Failure.CORRUPT, message) from error
    _refuse_bomb(height, width)
    orientation = _orientation(data) if spec.orientation else 1
    scale = _least_size(height, width, spec, swapped=orientation > 4)
    inks = colours in {"CMYK", "YCCK"}
    try:
        pixels = simplejpeg.decode_jpeg(data, "CMYK" if inks else "RGB", **scale)
    except ValueError as error:
        if "nsupported" in str(error):
            return None
        if damage is None:
            raise ImageError(Failure.CORRUPT, str(error)) from error
        if not inks:
            pixels = _salvage(data, scale)
        damage.append(str(error))
    if inks:  # which way round its inks are, Pillow knows
        return None
    if orientation != 1:
        pixels = np.asarray(_turn(Image.fromarray(pixels), orientation))
    return fit(pixels, spec)


def _salvage(data: bytes, scale: dict[str, int]) -> Pixels:
    """Decodes what there is of a damaged JPEG."""
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", strict=False, **scale)
    except ValueError as error:
        raise ImageError(Failure.CORRUPT, f"{error} (nothing could be decoded)") from error
    return pixels


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and contents of a JPEG's segments, up to where the picture begins."""
    position = 2
    while data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        length = max(length, 2)  # it counts itself; libjpeg takes less for that
        if marker == 0xDA:
            return
        yield marker, data[position + 4 : position + 2 + length]
        position += 2 + length


def _is_unusual(data: bytes) -> bool:
    """Whether a JPEG is lossless, arithmetic, 12-bit, or of uncommon sampling (ITU T.81, B.2.2)."""
    for marker, frame in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC} and len(frame) >= 9:
            usual = marker <= 0xC2 and frame[0] == 8
            factors = [frame[i] for i in range(7, len(frame), 3)]
            return not usual or any(f not in {0x11, 0x12, 0x21, 0x22, 0x41} for f in factors[:1])
    return False


def _least_size(height: int, width: int, spec: ImageSpec, *, swapped: bool) -> dict[str, int]:
    """The smallest decoded size that still needs no enlarging afterwards."""
    target = (spec.width, spec.height) if swapped else (spec.height, spec.width)
    if spec.fit == "pad":
        ratio = min(target[0] / height, target[1] / width)
        target = (math.ceil(height * ratio), math.ceil(width * ratio))
    return {"min_height": target[0], "min_width": target[1]}


def _orientation(data: bytes) -> int:
    """EXIF orientation 1 to 8; Pillow is asked only where there is an EXIF segment."""
    for marker, content in _segments(data):
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif = Image.Exif()
            try:
                exif.load(content)
                return _valid(exif.get(_ORIENTATION_TAG))
            except Exception:  # damaged EXIF says nothing about the pixels
                return 1
    return 1


def _orientation_of(image: Image.Image) -> int:
    try:
        return _valid(image.getexif().get(_ORIENTATION_TAG))
    except Exception:  # likewise
        return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    """Makes an image upright. The table is EXIF 2.3, tag 0x0112."""
    operation = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return image if operation is None else image.transpose(operation)


def _read_any(data: bytes, spec: ImageSpec) -> Pixels:
    """Reads what Pillow reads: first frame, alpha over white, 16 bits to 8."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        message = _HEIC_SAYS if _HEIC.match(data) else "no known image format"
        raise ImageError(Failure.NOT_AN_IMAGE, message) from error
    except Image.DecompressionBombError as error:
        raise ImageError(Failure.TOO_LARGE, f"more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:
        raise ImageError(Failure.CORRUPT, f"its header cannot be read: {error}") from error
    with image:
        _refuse_bomb(image.height, image.width)
        try:
            image.load()
            orientation = _orientation_of(image) if spec.orientation else 1
            rgb = _turn(_to_rgb(image), orientation)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever they stumble over
            raise ImageError(Failure.CORRUPT, f"it cannot be decoded: {error}") from error
    return np.asarray(_fit(rgb, spec))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise ValueError("nobody knows the range of its numbers")
    if image.mode.startswith("I"):
        wide = np.asarray(image.convert("I"))
        narrow = (wide >> _SHIFT_16_TO_8).clip(0, 255).astype(np.uint8)
        narrow[wide == image.info.get("transparency", -1)] = 255
        return Image.fromarray(narrow).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _fit(image: Image.Image, spec: ImageSpec) -> Image.Image:
    size = (spec.width, spec.height)
    if spec.fit == "crop":
        return ImageOps.fit(image, size, method=_filter(image, spec))
    if spec.fit == "pad":
        ratio = min(spec.width / image.width, spec.height / image.height)
        inner = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        frame = Image.new("RGB", size)
        offset = ((spec.width - inner[0]) // 2, (spec.height - inner[1]) // 2)
        frame.paste(image.resize(inner, _filter(image, spec)), offset)
        return frame
    return image if image.size == size else image.resize(size, _filter(image, spec))


def _filter(image: Image.Image, spec: ImageSpec) -> Image.Resampling:
    if spec.resize == "nearest":
        return Image.Resampling.NEAREST
    enlarges = image.width < spec.width or image.height < spec.height
    if spec.resize == "bilinear" or enlarges:
        return Image.Resampling.BILINEAR
    return Image.Resampling.BOX


def _refuse_bomb(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise ImageError(
            Failure.TOO_LARGE, f"{width} x {height} is more than {MAX_PIXELS:,} pixels"
        )
