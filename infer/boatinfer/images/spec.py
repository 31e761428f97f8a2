"""The geometry of a network's input: size, resizing and orientation."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["ImageSpec", "Positive", "Strict"]

Positive = Annotated[int, Meta(gt=0)]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the card: immutable, unknown keys are errors."""


class ImageSpec(Strict, frozen=True):
    """How an image is resized for the network.

    Attributes:
        height: rows of the network's input, pixels.
        width: columns of the network's input, pixels.
        resize: ``area`` averages (bilinear where it must enlarge), ``bilinear`` is the
            antialiased triangle filter, ``nearest`` takes the nearest pixel.
        fit: ``stretch`` ignores the aspect ratio, ``crop`` fills the frame and cuts off the
            edges, ``pad`` adds black bars.
        orientation: whether the EXIF orientation is applied. (That of a TIFF always is: there it
            is part of the format.)
    """

    height: Positive
    width: Positive
    resize: Literal["area", "bilinear", "nearest"] = "area"
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    orientation: bool = True
