"""Independent decoders: a file's picture as OpenCV, libvips and Pillow see it."""

from __future__ import annotations

import io
import logging
import os
import warnings

import cv2
import numpy as np
import pyvips
from PIL import Image, ImageOps

from corpus.sample import Array, over_white

__all__ = ["EXCEPTIONS", "JUDGES"]

os.environ["OPENCV_LOG_LEVEL"] = "SILENT"
logging.getLogger("pyvips").setLevel(logging.CRITICAL)


def _rgb(pixels: np.ndarray) -> Array | None:
    """RGB over white, from 1 to 4 channels of 8 or 16 bits."""
    if pixels.dtype not in (np.uint8, np.uint16):
        return None
    eight = (pixels >> 8 if pixels.dtype == np.uint16 else pixels).astype(np.uint8)
    eight = eight.reshape(*eight.shape[:2], -1)
    channels = eight.shape[2]
    colours = np.repeat(eight[..., :1], 3, axis=2) if channels < 3 else eight[..., :3]
    return over_white(colours, eight[..., -1]) if channels in {2, 4} else colours


def by_opencv(data: bytes) -> list[Array]:
    """With its alpha, and without, which OpenCV turns upright; empty where it does not read it."""
    views = []
    for flags in (cv2.IMREAD_UNCHANGED, cv2.IMREAD_COLOR):
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:
            continue
        if pixels is not None:
            if pixels.ndim == 3 and pixels.shape[2] >= 3:
                pixels = pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]
            views.append(_rgb(pixels))
    return [view for view in views if view is not None]


def by_libvips(data: bytes) -> list[Array]:
    """Upright; empty where libvips does not read it."""
    try:
        image = pyvips.Image.new_from_buffer(data, "", fail_on="error").autorot()
        if image.interpretation == "cmyk":
            image = image.colourspace("srgb")
        view = _rgb(np.asarray(image.numpy()))
    except pyvips.Error:
        return []
    return [] if view is None else [view]


def by_pillow(data: bytes) -> list[Array]:
    """Upright; empty where Pillow does not read it, or 16 bits in its own way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as image:
                upright = ImageOps.exif_transpose(image)
                if upright.mode[0] in "IF":
                    return []
                view = _rgb(np.asarray(upright.convert("RGBA")))
        except Exception:  # it raises whatever it stumbles over
            return []
    return [] if view is None else [view]


#: By name; each gives a file's picture in no, one or several ways of seeing it.
JUDGES = {"OpenCV": by_opencv, "libvips": by_libvips, "Pillow": by_pillow}

#: Files on which a judge is wrong, and why.
EXCEPTIONS = {
    "OpenCV": {
        "avif/turned-*": "does not turn them",
        "bmp/555": "takes the highest bit for alpha",
        "bmp/os2-*": "reads the old header's palette and rows wrongly",
        "pnm/P[56]-*": "does not scale to the highest value",
        "jp2/grey-alpha": "takes alpha for a colour",
        "png/actl*": "expects an animation's frames",
        "png/grey-[24]-trns*": "compares the transparent value in the wrong depth",
        "tiff/*associated*": "multiplies with alpha twice",
        "tiff/grey-alpha-*": "mixes the channels",
        "tiff/lab-*": "converts from another white, or not at all",
        "tiff/palette-1-*": "takes the palette for black and white",
        "tiff/rgba-*": "multiplies with alpha",
    },
    "libvips": {
        "tiff/[cC][mM][yY][kK]-*": "converts inks by a profile",
        "tiff/rgbx-*": "takes any fourth channel for alpha",
        "tiff/ycbcr-8-*": "leaves the colours unconverted",
    },
    "Pillow": {
        "bmp/empty-alpha-*": "shows nothing",
        "png/grey-[24]-trns*": "compares the transparent value in the wrong depth",
        "tga/32-attr0-*": "takes the fourth byte for alpha",
        "tga/32-empty-alpha": "shows nothing",
        "tiff/*-16-planar*": "reads planes of 16 bits wrongly",
        "tiff/lab-*": "converts from another white",
    },
}
