"""JPEG, through libjpeg-turbo."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

from boatinfer.errors import WARNING, Failure, ImageError
from boatinfer.images.exif import of_exif
from boatinfer.images.geometry import Pixels, fit, least_size, refuse_bomb, turn
from boatinfer.images.jpeg_markers import Header, header_of, scan_of, tidied
from boatinfer.images.jpeg_spare import without_spare, without_zeros
from boatinfer.images.spec import ImageSpec
from boatinfer.images.warned import unwarned

__all__ = ["jpeg_size", "read_jpeg"]

#: simplejpeg's words for what it cannot read and Pillow can.
_PILLOWS = ("subsampling", "color conversion")

_EOI = b"\xff\xd9"

#: How many bytes at the end of the entropy-coded data are tried.
_END = 32
_OTHER = bytes(0 if byte == 0xAA else byte ^ 0x55 for byte in range(256))


def jpeg_size(data: bytes, *, orientation: bool) -> tuple[int, int]:
    """Tells the height and width of a JPEG, upright unless ``orientation`` is False.

    Raises:
        ImageError: ``corrupt`` or ``unsupported``.
    """
    header = header_of(data)
    header.refuse_unsupported()
    lies = orientation and of_exif(header.exif) > 4
    return (header.width, header.height) if lies else (header.height, header.width)


def read_jpeg(data: bytes, spec: ImageSpec, lenient: bool, notes: list[str]) -> Pixels:
    """Reads a JPEG; arguments and errors are those of `boatinfer.images.read`."""
    header = header_of(data)
    header.refuse_unsupported()
    refuse_bomb(header.height, header.width)
    orientation = of_exif(header.exif) if spec.orientation else 1
    scale = least_size(header.height, header.width, spec, swapped=orientation > 4)
    if header.lossless:
        scale = {}  # libjpeg-turbo cannot scale it, and would write more than was asked for
    pixels = _decoded(data, header, scale, lenient, notes)
    if orientation != 1:
        pixels = np.asarray(turn(Image.fromarray(pixels), orientation))
    return fit(pixels, spec)


def _decoded(
    data: bytes, header: Header, scale: dict[str, int], lenient: bool, notes: list[str]
) -> Pixels:
    try:
        return _strict(data, header, scale)
    except ValueError as error:
        warning = str(error)
    if any(words in warning for words in _PILLOWS):
        return _unusual(data, header, scale, lenient, notes)
    for copy in _candidates(data, header):
        try:
            pixels = _strict(copy, header, scale)
        except ValueError:
            continue
        notes.append(WARNING + warning)
        return pixels
    if not lenient:
        raise ImageError(Failure.CORRUPT, warning)
    try:
        pixels = _strict(tidied(data, header) or data, header, scale, strict=False)
    except ValueError as error:
        raise ImageError(Failure.CORRUPT, f"{error} (nothing could be decoded)") from error
    notes.append(warning)
    return pixels


def _candidates(data: bytes, header: Header) -> Iterator[bytes]:
    """Copies of a JPEG without what is no part of the picture.

    What the decoder warns of in all of them is damage.
    """
    tidy = tidied(data, header)
    if tidy is None:
        return
    if _ends(data, header):
        yield tidy
    # Zeros are also what a card leaves of a file that was not finished, so none is believed.
    yield from (coded + _EOI for coded in without_zeros(tidy[:-2], most=0))
    exact = without_spare(tidy, header, _is_exact)
    if exact is not None:
        yield exact


def _ends(data: bytes, header: Header) -> bool:
    """Whether it has an end marker."""
    return data.find(_EOI, header.scan) >= 0


def _is_exact(jpeg: bytes) -> bool:
    try:
        simplejpeg.decode_jpeg(jpeg, "RGB", min_height=1, min_width=1)
    except ValueError:
        return False
    return True


def _strict(data: bytes, header: Header, scale: dict[str, int], strict: bool = True) -> Pixels:
    """Decodes; raises ValueError for an error and, if strict, for any warning."""
    if header.colours == 4:  # which way round its inks are, Pillow knows
        simplejpeg.decode_jpeg(data, "CMYK", strict=strict, **scale)
        return _pillows(tidied(data, header) or data, scale)
    pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", strict=strict, **scale)
    return pixels


def _pillows(data: bytes, scale: dict[str, int]) -> Pixels:
    """Decodes with Pillow, without the metadata, of which it would warn.

    Raises:
        ValueError: it cannot be decoded.
    """
    try:
        with unwarned(), Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if scale:
                image.draft(None, (scale["min_width"], scale["min_height"]))
            return np.asarray(image.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises whatever it stumbles over
        raise ValueError(str(error)) from error


def _unusual(
    data: bytes, header: Header, scale: dict[str, int], lenient: bool, notes: list[str]
) -> Pixels:
    """Decodes what only Pillow can, which passes over damage in silence."""
    whole = tidied(data, header)
    try:
        pixels = _pillows(whole or data, scale)
        if whole is not None and _ends(data, header):
            for coded in without_zeros(whole[:-2], most=2):
                if _is_used_up(coded + _EOI, pixels, scale):
                    if len(coded) + 2 < len(whole):
                        notes.append(f"{WARNING}zeros after the picture's data")
                    return pixels
            if _is_flat(whole, pixels, scale):
                return pixels
    except ValueError as error:
        raise ImageError(Failure.CORRUPT, str(error)) from error
    message = "some of the picture's data is missing or damaged"
    if not lenient:
        raise ImageError(Failure.CORRUPT, message)
    notes.append(message)
    return pixels


def _is_used_up(tidy: bytes, pixels: Pixels, scale: dict[str, int]) -> bool:
    """Whether a decoder that warns of nothing used the data to their end, and needed no more.

    Other bytes after the data change no pixel, and other bytes in their place do.
    """
    head, coded, _ = scan_of(tidy)
    more = head + coded + _other(bytes(_END))
    less = head + coded[:-_END] + _other(coded[-_END:])
    return _shows(more, pixels, scale) and not _shows(less, pixels, scale)


def _is_flat(tidy: bytes, pixels: Pixels, scale: dict[str, int]) -> bool:
    """Whether any data would show the same picture, so that none can be missing."""
    head, coded, _ = scan_of(tidy)
    return _shows(head + _other(coded), pixels, scale)


def _shows(jpeg: bytes, pixels: Pixels, scale: dict[str, int]) -> bool:
    """Whether a JPEG without its end marker shows a picture."""
    try:
        return np.array_equal(_pillows(jpeg + _EOI, scale), pixels)
    except ValueError:
        return False


def _other(coded: bytes) -> bytes:
    """Other bytes than these, and no marker."""
    return coded.translate(_OTHER)
