"""Decodes images as a model's card specifies."""

from __future__ import annotations

from boatinfer.errors import WARNING, Failure, ImageError
from boatinfer.images.admission import decoding_memory
from boatinfer.images.formats import read_any, unwrap
from boatinfer.images.formats import size as size_of_any
from boatinfer.images.geometry import Pixels
from boatinfer.images.jpeg import jpeg_size, read_jpeg
from boatinfer.images.jpeg_markers import is_jpeg
from boatinfer.images.memory import estimate_memory
from boatinfer.images.spec import ImageSpec
from boatinfer.images.warned import collected_warnings

__all__ = ["read", "size"]


def read(
    data: bytes, spec: ImageSpec, *, lenient: bool = False, notes: list[str] | None = None
) -> Pixels:
    """Decodes an image to the size of the network's input.

    A JPEG is decoded directly at the smallest scale (n/8) that is at least the target size. A JPEG
    with missing or damaged data is an error, never a half grey picture; a warning of the decoder
    about a complete picture becomes a note. Large images wait until there is memory for them.

    Args:
        data: the file's content.
        spec: size and geometry, from the model's card.
        lenient: decode a damaged JPEG as far as it goes.
        notes: warnings of the decoder are appended here. The note of an intact image begins with
            `boatinfer.errors.WARNING`; another one describes the damage of a JPEG that was
            read because of ``lenient``.

    Returns:
        uint8 [spec.height, spec.width, 3], RGB.

    Raises:
        ImageError: ``not_an_image``, ``corrupt``, ``unsupported`` or ``too_large``.
    """
    if not data:
        raise ImageError(Failure.NOT_AN_IMAGE, "the file is empty")
    if notes is None:
        notes = []
    try:
        data = unwrap(data, notes)
        with collected_warnings():
            extra_memory = estimate_memory(data, spec) - len(data)
        with decoding_memory(extra_memory):
            if is_jpeg(data):
                return read_jpeg(data, spec, lenient, notes)
            with collected_warnings() as warnings:
                pixels = read_any(data, spec)
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to decode the image") from error
    notes += [WARNING + warning for warning in warnings]
    return pixels


def size(data: bytes, *, orientation: bool = True) -> tuple[int, int]:
    """Reads the height and width of an image from its header.

    Args:
        data: the file's content.
        orientation: whether upright, or as stored.

    Raises:
        ImageError: ``corrupt`` or ``unsupported``; that of `read` may be more precise.
    """
    data = unwrap(data)
    with collected_warnings():
        return (jpeg_size if is_jpeg(data) else size_of_any)(data, orientation=orientation)
