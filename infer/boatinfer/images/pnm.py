"""PNM: PBM, PGM and PPM, plain and raw (netpbm's manuals ``pbm``, ``pgm`` and ``ppm``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from boatinfer.errors import Failure, ImageError
from boatinfer.images import with_libvips
from boatinfer.images.opened import LARGE, OpenedImage

__all__ = ["open_pnm"]

_COMMENT = re.compile(rb"#[^\r\n]*")
_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
_BITMAP_HEADER = re.compile(rb"P([14])" + (_SPACE + rb"(\d{1,9})") * 2)
_LEVELS_HEADER = re.compile(rb"P([2356])" + (_SPACE + rb"(\d{1,9})") * 3)

Samples = npt.NDArray[Any]


@dataclass(frozen=True)
class _Header:
    kind: int
    width: int
    height: int
    max_value: int  # the highest sample, which is white
    end: int

    @property
    def channels(self) -> int:
        return 3 if self.kind in {3, 6} else 1


def open_pnm(data: bytes) -> OpenedImage:
    """Reads a PNM, or the first of several in a file.

    Raises:
        ImageError: ``corrupt``.
    """
    match = _BITMAP_HEADER.match(data) or _LEVELS_HEADER.match(data)
    if match is None:
        raise ImageError(Failure.CORRUPT, "a PNM whose header is cut off or damaged")
    kind, width, height, max_value = [*map(int, match.groups()), 1][:4]
    if not (width and height and 0 < max_value < 2**16):
        raise ImageError(Failure.CORRUPT, "a PNM without a size, or without a highest value")
    header = _Header(kind, width, height, max_value, match.end())
    return OpenedImage(height, width, 1, lambda *min_size: _decode(data, header, min_size))


def _decode(data: bytes, header: _Header, min_size: tuple[int, int]) -> Image.Image:
    readers = {1: _plain_bits, 2: _plain, 3: _plain, 4: _packed_bits, 5: _raw, 6: _raw}
    samples = readers[header.kind](data, header)
    shape = (header.height, header.width, header.channels)
    if header.max_value == 255:
        pixels = samples.astype(np.uint8, copy=False).reshape(shape)
    else:
        pixels = _levels(header)[samples].reshape(shape)
    if header.height * header.width >= LARGE:
        return with_libvips.shrink(pixels, *min_size)
    return Image.fromarray(pixels if header.channels == 3 else pixels[..., 0]).convert("RGB")


def _levels(header: _Header) -> npt.NDArray[np.uint8]:
    """Lookup table of the 8-bit value of every possible sample."""
    if header.kind in {1, 4}:
        return np.array([255, 0], np.uint8)
    if header.max_value == 65535:  # as for other 16-bit formats
        return (np.arange(65536) >> 8).astype(np.uint8)
    samples = np.arange(256 if header.max_value < 256 else 65536).clip(max=header.max_value)
    return (samples * 255 / header.max_value).round().astype(np.uint8)


def _raw(data: bytes, header: _Header) -> Samples:
    count = header.height * header.width * header.channels
    return _array(data, header, count, np.dtype(np.uint8 if header.max_value < 256 else ">u2"))


def _packed_bits(data: bytes, header: _Header) -> Samples:
    bytes_a_row = -(-header.width // 8)
    packed = _array(data, header, header.height * bytes_a_row, np.dtype(np.uint8))
    return np.unpackbits(packed.reshape(-1, bytes_a_row), axis=1, count=header.width)


def _array(data: bytes, header: _Header, count: int, dtype: np.dtype[Any]) -> Samples:
    start = header.end + 1  # one white space ends the header
    if start + count * dtype.itemsize > len(data):
        raise ImageError(Failure.CORRUPT, "it cannot be decoded: the PNM is cut off")
    return np.frombuffer(data, dtype, count, start)


def _plain(data: bytes, header: _Header) -> Samples:
    count = header.height * header.width * header.channels
    text = _COMMENT.sub(b" ", data[header.end :])
    if text.translate(None, b"0123456789 \t\n\v\f\r"):
        raise ImageError(Failure.CORRUPT, "it cannot be decoded: no number in a plain PNM")
    samples = np.fromstring(text.decode("ascii"), np.int64, sep=" ")[:count]
    if len(samples) < count or samples.max() > header.max_value:
        message = "it cannot be decoded: the PNM is cut off, or a number is too large"
        raise ImageError(Failure.CORRUPT, message)
    return samples


def _plain_bits(data: bytes, header: _Header) -> Samples:
    """Reads single digits, which need no space between them."""
    count = header.height * header.width
    text = _COMMENT.sub(b"", data[header.end :]).translate(None, b" \t\n\v\f\r")[:count]
    if len(text) < count or text.translate(None, b"01"):
        raise ImageError(
            Failure.CORRUPT, "it cannot be decoded: the plain PBM is cut off or damaged"
        )
    return np.frombuffer(text, np.uint8) - ord("0")
