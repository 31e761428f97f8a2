"""JPEG, through libjpeg-turbo."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

from boatinfer.errors import WARNING, Failure, ImageError
from boatinfer.images.exif import parse_orientation
from boatinfer.images.geometry import Pixels, apply_orientation, fit, min_decode_size, refuse_bomb
from boatinfer.images.jpeg_markers import Header, read_header, split_at_scan, tidied
from boatinfer.images.jpeg_spare import without_spare, without_zeros
from boatinfer.images.spec import ImageSpec
from boatinfer.images.warned import collected_warnings

__all__ = ["jpeg_size", "read_jpeg"]

#: Parts of simplejpeg's messages about JPEGs that only Pillow can decode.
_PILLOW_ONLY_ERRORS = ("subsampling", "color conversion")

_EOI = b"\xff\xd9"

#: Number of bytes at the end of the entropy-coded data that are altered as a test.
_ALTERED_BYTES = 32
_OTHER_BYTES = bytes(0 if byte == 0xAA else byte ^ 0x55 for byte in range(256))


def jpeg_size(data: bytes, *, orientation: bool) -> tuple[int, int]:
    """Reads the height and width of a JPEG, upright unless ``orientation`` is False.

    Raises:
        ImageError: ``corrupt`` or ``unsupported``.
    """
    header = read_header(data)
    header.refuse_unsupported()
    is_rotated = orientation and parse_orientation(header.exif) > 4
    return (header.width, header.height) if is_rotated else (header.height, header.width)


def read_jpeg(data: bytes, spec: ImageSpec, lenient: bool, notes: list[str]) -> Pixels:
    """Reads a JPEG; arguments and errors are those of `boatinfer.images.read`."""
    header = read_header(data)
    header.refuse_unsupported()
    refuse_bomb(header.height, header.width)
    orientation = parse_orientation(header.exif) if spec.orientation else 1
    scale = min_decode_size(header.height, header.width, spec, swapped=orientation > 4)
    if header.lossless:
        scale = {}  # libjpeg-turbo cannot scale it, and would write beyond the buffer
    pixels = _decode(data, header, scale, lenient, notes)
    if orientation != 1:
        pixels = np.asarray(apply_orientation(Image.fromarray(pixels), orientation))
    return fit(pixels, spec)


def _decode(
    data: bytes, header: Header, scale: dict[str, int], lenient: bool, notes: list[str]
) -> Pixels:
    try:
        return _decode_strictly(data, header, scale)
    except ValueError as error:
        warning = str(error)
    if any(words in warning for words in _PILLOW_ONLY_ERRORS):
        return _decode_unusual(data, header, scale, lenient, notes)
    for copy in _cleaned_copies(data, header):
        try:
            pixels = _decode_strictly(copy, header, scale)
        except ValueError:
            continue
        notes.append(WARNING + warning)
        return pixels
    if not lenient:
        raise ImageError(Failure.CORRUPT, warning)
    try:
        pixels = _decode_strictly(tidied(data, header) or data, header, scale, strict=False)
    except ValueError as error:
        raise ImageError(Failure.CORRUPT, f"{error} (nothing could be decoded)") from error
    notes.append(warning)
    return pixels


def _cleaned_copies(data: bytes, header: Header) -> Iterator[bytes]:
    """Copies of a JPEG without bytes that are not part of the picture.

    If the decoder warns about all of them, the JPEG is damaged.
    """
    tidy = tidied(data, header)
    if tidy is None:
        return
    if _has_end_marker(data, header):
        yield tidy
    # An unfinished file on a memory card also ends in zeros, so none may belong to the data.
    yield from (coded + _EOI for coded in without_zeros(tidy[:-2], max_own_zeros=0))
    exact = without_spare(tidy, header, _is_exact)
    if exact is not None:
        yield exact


def _has_end_marker(data: bytes, header: Header) -> bool:
    """Whether the JPEG has an end marker (EOI)."""
    return data.find(_EOI, header.scan) >= 0


def _is_exact(jpeg: bytes) -> bool:
    try:
        simplejpeg.decode_jpeg(jpeg, "RGB", min_height=1, min_width=1)
    except ValueError:
        return False
    return True


def _decode_strictly(
    data: bytes, header: Header, scale: dict[str, int], strict: bool = True
) -> Pixels:
    """Decodes; raises ValueError for an error and, if strict, for any warning."""
    if header.colours == 4:  # only Pillow handles inverted inks
        simplejpeg.decode_jpeg(data, "CMYK", strict=strict, **scale)
        return _decode_with_pillow(tidied(data, header) or data, scale)
    pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", strict=strict, **scale)
    return pixels


def _decode_with_pillow(data: bytes, scale: dict[str, int]) -> Pixels:
    """Decodes with Pillow; its warnings about metadata are ignored.

    Raises:
        ValueError: the JPEG cannot be decoded.
    """
    try:
        with collected_warnings(), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if scale:
                image.draft(None, (scale["min_width"], scale["min_height"]))
            return np.asarray(image.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises exceptions of many types
        raise ValueError(str(error)) from error


def _decode_unusual(
    data: bytes, header: Header, scale: dict[str, int], lenient: bool, notes: list[str]
) -> Pixels:
    """Decodes a JPEG that only Pillow can decode, and detects damage, which Pillow ignores."""
    tidy = tidied(data, header)
    try:
        pixels = _decode_with_pillow(tidy or data, scale)
        if tidy is not None and _has_end_marker(data, header):
            for coded in without_zeros(tidy[:-2], max_own_zeros=2):
                if _uses_all_data(coded + _EOI, pixels, scale):
                    if len(coded) + 2 < len(tidy):
                        notes.append(f"{WARNING}zeros after the picture's data")
                    return pixels
            if _is_independent_of_data(tidy, pixels, scale):
                return pixels
    except ValueError as error:
        raise ImageError(Failure.CORRUPT, str(error)) from error
    message = "some of the picture's data is missing or damaged"
    if not lenient:
        raise ImageError(Failure.CORRUPT, message)
    notes.append(message)
    return pixels


def _uses_all_data(tidy: bytes, pixels: Pixels, scale: dict[str, int]) -> bool:
    """Whether the decoder used the data to their end, and needed no more.

    The test for a decoder without warnings: bytes appended to the data change no pixel, and other
    bytes in place of the last ones do.
    """
    head, coded, _ = split_at_scan(tidy)
    appended = head + coded + _altered(bytes(_ALTERED_BYTES))
    altered = head + coded[:-_ALTERED_BYTES] + _altered(coded[-_ALTERED_BYTES:])
    return _decodes_to(appended, pixels, scale) and not _decodes_to(altered, pixels, scale)


def _is_independent_of_data(tidy: bytes, pixels: Pixels, scale: dict[str, int]) -> bool:
    """Whether any data would give the same picture, so that none can be missing."""
    head, coded, _ = split_at_scan(tidy)
    return _decodes_to(head + _altered(coded), pixels, scale)


def _decodes_to(jpeg: bytes, pixels: Pixels, scale: dict[str, int]) -> bool:
    """Whether a JPEG without its end marker decodes to these pixels."""
    try:
        return np.array_equal(_decode_with_pillow(jpeg + _EOI, scale), pixels)
    except ValueError:
        return False


def _altered(coded: bytes) -> bytes:
    """Replaces every byte by another one, without creating markers."""
    return coded.translate(_OTHER_BYTES)
