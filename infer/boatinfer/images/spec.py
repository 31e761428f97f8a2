"""What is done to an image before the network sees it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["ImageSpec", "Positive", "Strict"]

Positive = Annotated[int, Meta(gt=0)]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the card: immutable, and no key is overlooked."""


class ImageSpec(Strict, frozen=True):
    """What is done to an image before the network sees it.

    Attributes:
        height: rows of the network's input, pixels.
        width: columns of the network's input, pixels.
        resize: ``area`` averages (bilinear where it must enlarge), ``bilinear`` is the
            antialiased triangle filter, ``nearest`` takes the nearest pixel.
        fit: ``stretch`` ignores the aspect ratio, ``crop`` fills the frame and cuts
            what stands over, ``pad`` shows everything on black.
        orientation: whether the EXIF orientation is applied. (A TIFF's always is: there it
            belongs to the format.)
    """

    height: Positive
    width: Positive
    resize: Literal["area", "bilinear", "nearest"] = "area"
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    orientation: bool = True
