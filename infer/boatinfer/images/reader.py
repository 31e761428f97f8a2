"""Bytes to pixels, exactly as a model's card says."""

from __future__ import annotations

from boatinfer.errors import WARNING, Failure, ImageError
from boatinfer.images.admission import room
from boatinfer.images.formats import read_any, unwrap
from boatinfer.images.formats import size as size_of_any
from boatinfer.images.geometry import Pixels
from boatinfer.images.jpeg import jpeg_size, read_jpeg
from boatinfer.images.jpeg_markers import is_jpeg
from boatinfer.images.memory import needed
from boatinfer.images.spec import ImageSpec
from boatinfer.images.warned import unwarned

__all__ = ["read", "size"]


def read(
    data: bytes, spec: ImageSpec, *, lenient: bool = False, notes: list[str] | None = None
) -> Pixels:
    """Decodes an image to the size that the network wants.

    A JPEG is decoded straight to the smallest scale (n/8) that is at least the target size. One
    of which some of the picture's data is missing or damaged is an error and never a grey half;
    what its decoder warns of although the picture is whole becomes a note.
    Large images wait until there is memory for them.

    Args:
        data: the file's content.
        spec: size and geometry, from the model's card.
        lenient: decode a damaged JPEG as far as it goes.
        notes: what the decoder warns of is appended here. The note of a sound image begins with
            `boatinfer.errors.WARNING`; another one says how a JPEG that was read because of
            ``lenient`` is damaged.

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
        with unwarned():
            memory = needed(data, spec) - len(data)
        with room(memory):
            if is_jpeg(data):
                return read_jpeg(data, spec, lenient, notes)
            with unwarned() as said:
                pixels = read_any(data, spec)
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to decode the image") from error
    notes += [WARNING + warning for warning in said]
    return pixels


def size(data: bytes, *, orientation: bool = True) -> tuple[int, int]:
    """Tells the height and width of an image by its header.

    Args:
        data: the file's content.
        orientation: whether upright, or as it is stored.

    Raises:
        ImageError: ``corrupt`` or ``unsupported``; what `read` would say may be more exact.
    """
    data = unwrap(data)
    with unwarned():
        return (jpeg_size if is_jpeg(data) else size_of_any)(data, orientation=orientation)
