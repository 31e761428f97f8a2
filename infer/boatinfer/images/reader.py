"""Bytes to pixels, exactly as a model's card says."""

from __future__ import annotations

from boatinfer.errors import Failure, ImageError
from boatinfer.images.admission import room
from boatinfer.images.formats import read_any
from boatinfer.images.geometry import Pixels
from boatinfer.images.jpeg import read_jpeg
from boatinfer.images.memory import needed
from boatinfer.models.card import ImageSpec

__all__ = ["read"]

_JPEG = b"\xff\xd8\xff"


def read(data: bytes, spec: ImageSpec, damage: list[str] | None = None) -> Pixels:
    """Decodes an image to the size that the network wants.

    A JPEG is decoded straight to the smallest scale (n/8) that is at least the target
    size, and a warning of the decoder counts as corruption: a damaged picture is an error
    and never a grey half. Other formats, and kinds of JPEG that libjpeg-turbo does not
    know, go through Pillow. Large ones wait until there is memory for them.

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
        with room(needed(data, spec) - len(data)):
            decoded = read_jpeg(data, spec, damage) if data.startswith(_JPEG) else None
            return decoded if decoded is not None else read_any(data, spec)
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to decode the image") from error
