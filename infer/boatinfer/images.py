"""Bytes to pixels, exactly as a model's card says; the only image reader of the project.

Training, export, inference and tests all call `read`, so the same bytes give the same
pixels everywhere.
"""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from boatinfer.card import ImageSpec
from boatinfer.errors import Failure, ImageError

__all__ = ["MAX_PIXELS", "Pixels", "fit", "read"]

Pixels = npt.NDArray[np.uint8]

#: Larger images are refused by their header. 180 megapixels is above every camera in
#: common use and below what would let a few crafted files exhaust the memory.
MAX_PIXELS = 180_000_000

# Pillow warns from half of that size on; the limit above is the one that counts here.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_JPEG = b"\xff\xd8\xff"
_ORIENTATION_TAG = 0x0112
_SHIFT_16_TO_8 = 8


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
    except (ValueError, KeyError):  # KeyError: a colour space that simplejpeg has no name for
        return None
    _refuse_bomb(height, width)
    orientation = _orientation(data) if spec.orientation else 1
    scale = _least_size(height, width, spec, swapped=orientation > 4)
    inks = colours in {"CMYK", "YCCK"}
    try:
        pixels = simplejpeg.decode_jpeg(data, "CMYK" if inks else "RGB", **scale)
    except ValueError as error:
        if "nsupported" in str(error):
            return None
        pixels = _salvage(data, scale, str(error), damage)
    if inks:  # found sound; which way round its inks are, Pillow knows
        return None
    if orientation != 1:
        pixels = np.asarray(_turn(Image.fromarray(pixels), orientation))
    return fit(pixels, spec)


def _salvage(data: bytes, scale: dict[str, int], warning: str, damage: list[str] | None) -> Pixels:
    """Decodes what there is of a damaged JPEG, if the caller wants that."""
    if damage is not None:
        try:
            pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", strict=False, **scale)
        except ValueError as error:
            raise ImageError(Failure.CORRUPT, f"{error} (nothing could be decoded)") from error
        damage.append(warning)
        return pixels
    raise ImageError(Failure.CORRUPT, warning)


def _least_size(height: int, width: int, spec: ImageSpec, *, swapped: bool) -> dict[str, int]:
    """The smallest decoded size that still needs no enlarging afterwards."""
    target = (spec.width, spec.height) if swapped else (spec.height, spec.width)
    if spec.fit == "pad":
        ratio = min(target[0] / height, target[1] / width)
        target = (math.ceil(height * ratio), math.ceil(width * ratio))
    return {"min_height": target[0], "min_width": target[1]}


def _orientation(data: bytes) -> int:
    """EXIF orientation 1 to 8; Pillow is asked only where there is an EXIF segment."""
    position = 2
    while data[position : position + 1] == b"\xff" and len(data) > position + 10:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if marker == 0xE1 and data[position + 4 : position + 10] == b"Exif\0\0":
            return _orientation_of(Image.open(io.BytesIO(data)))
        if marker == 0xDA:  # the picture begins; no metadata comes after
            break
        position += 2 + length
    return 1


def _orientation_of(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1
    return value if value in range(1, 9) else 1


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
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        if data.startswith(_JPEG):
            raise ImageError(Failure.CORRUPT, "a JPEG cut off in its header") from error
        raise ImageError(Failure.NOT_AN_IMAGE, "no known image format") from error
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
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = np.asarray(image.convert("I"))
        image = Image.fromarray((wide >> _SHIFT_16_TO_8).clip(0, 255).astype(np.uint8))
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
