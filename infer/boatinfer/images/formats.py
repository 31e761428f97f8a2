"""All formats but ordinary JPEG."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image, UnidentifiedImageError

from boatinfer.errors import Failure, ImageError, first_line
from boatinfer.images.exif import orientation_of
from boatinfer.images.geometry import MAX_PIXELS, Pixels, fit_image, refuse_bomb, turn
from boatinfer.models.card import ImageSpec

__all__ = ["FORMATS", "read_any", "size"]

#: The brands that begin a HEIC file (ISO/IEC 23008-12, annex B.4); ``mif1`` may hold other codecs.
_HEIC = re.compile(rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)
_HEIC_SAYS = "HEIC cannot be read here; convert it to JPEG"
_SHIFT_16_TO_8 = 8

#: What Pillow may try. Left out above all is EPS, for which it would start Ghostscript.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA")


def size(data: bytes, *, orientation: bool) -> tuple[int, int]:
    """Tells the height and width of an image, upright or as it is stored, by its header.

    Raises:
        ImageError: ``corrupt``; what `read` would say may be more exact.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            # A TIFF says how it will be once Pillow has turned it.
            lies = orientation and image.format != "TIFF" and orientation_of(image) > 4
            return (image.width, image.height) if lies else (image.height, image.width)
    except Exception as error:
        message = f"its header cannot be read: {first_line(error)}"
        raise ImageError(Failure.CORRUPT, message) from error


def read_any(data: bytes, spec: ImageSpec) -> Pixels:
    """Reads what Pillow reads: first frame, alpha over white, 16 bits to 8."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        message = _HEIC_SAYS if _HEIC.match(data) else "no known image format"
        raise ImageError(Failure.NOT_AN_IMAGE, message) from error
    except Image.DecompressionBombError as error:
        raise ImageError(Failure.TOO_LARGE, f"more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:
        raise ImageError(Failure.CORRUPT, f"its header cannot be read: {error}") from error
    with image:
        refuse_bomb(image.height, image.width)
        try:
            image.load()
            orientation = orientation_of(image) if spec.orientation else 1
            rgb = turn(_to_rgb(image), orientation)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever they stumble over
            raise ImageError(Failure.CORRUPT, f"it cannot be decoded: {error}") from error
    return np.asarray(fit_image(rgb, spec))


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
