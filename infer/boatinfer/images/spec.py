"""The geometry of a network's input: size, resizing and orientation."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["FORMAT_1_FIELDS", "ImageSpec", "Positive", "Strict"]

Positive = Annotated[int, Meta(gt=0)]
Byte = Annotated[int, Meta(ge=0, le=255)]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every part of the card: immutable, unknown keys are errors."""


class ImageSpec(Strict, frozen=True):
    """How an image is resized for the network.

    The fields after ``orientation``, and ``bicubic`` and ``lanczos``, came with format 2 of the
    card.

    Attributes:
        height: rows of the network's input, pixels.
        width: columns of the network's input, pixels.
        resize: ``area`` averages (bilinear where it must enlarge), ``bilinear``, ``bicubic`` and
            ``lanczos`` are antialiased filters as in Pillow, ``nearest`` takes the nearest pixel.
        fit: ``stretch`` ignores the aspect ratio, ``crop`` fills the frame and cuts off the
            edges, ``pad`` adds bars.
        orientation: whether the EXIF orientation is applied. (That of a TIFF always is: there it
            is part of the format.)
        shorter_side: pixels of the shorter side after resizing, before height x width are cut from
            the centre. None: straight to height x width.
        resize_to: height and width that are filled (``crop``), taken on (``stretch``) or fitted
            into (``pad``) by resizing, before height x width are cut from the centre, likewise.
        antialias: whether ``bilinear``, ``bicubic`` and ``lanczos`` average over all pixels when
            shrinking; False is the interpolation of OpenCV, between the nearest few.
        pad_colour: RGB of the bars.
        pad_side: where the bars are: at ``both`` sides, or at the ``end``, right and bottom.
        decode: the size at which a JPEG or other scalable format is decoded before it is resized:
            ``scaled`` is at least that of the resized image, ``double`` at least twice that, and
            ``full`` the whole.
        crops: 1, the centre, or 5, the corners too, one below the other; the network's outputs
            are averaged over them.
    """

    height: Positive
    width: Positive
    resize: Literal["area", "bilinear", "nearest", "bicubic", "lanczos"] = "area"
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    orientation: bool = True
    shorter_side: Positive | None = None
    resize_to: tuple[Positive, Positive] | None = None
    antialias: bool = True
    pad_colour: tuple[Byte, Byte, Byte] = (0, 0, 0)
    pad_side: Literal["both", "end"] = "both"
    decode: Literal["scaled", "double", "full"] = "scaled"
    crops: Literal[1, 5] = 1

    def __post_init__(self) -> None:
        """Refuses combinations without a meaning."""
        if not self.antialias and self.resize in {"area", "nearest"}:
            raise ValueError(f"{self.resize} has no variant without antialias")
        if self.shorter_side is not None and (self.fit != "crop" or self.resize_to is not None):
            raise ValueError("shorter_side needs the fit crop, and no resize_to")
        if self.crops == 5 and (self.is_direct or self.fit == "pad"):
            raise ValueError("five crops need shorter_side or resize_to, and a fit that is not pad")

    @property
    def is_direct(self) -> bool:
        """Whether the image is resized straight to height x width."""
        return self.shorter_side is None and self.resize_to is None

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of what `boatinfer.images.read` returns: crops x height, width, 3."""
        return (self.crops * self.height, self.width, 3)

    @property
    def description(self) -> str:
        """The steps from an upright image to the network's input, for display."""
        size = f"{self.height} x {self.width}"
        how = f"({self.resize}{'' if self.antialias else ', not antialiased'})"
        bars = "black" if self.pad_colour == (0, 0, 0) else f"RGB {self.pad_colour}"
        end = " at the right and bottom" if self.pad_side == "end" else ""
        decoded = {"scaled": "", "double": ", decoded at twice the size", "full": ", decoded whole"}
        if self.is_direct:
            fit = {
                "stretch": "stretched",
                "crop": "cropped in the middle",
                "pad": f"padded with {bars}{end}",
            }[self.fit]
            return f"{fit} to {size} pixels {how}{decoded[self.decode]}"
        target = f"the shorter side {self.shorter_side}"
        if self.resize_to is not None:
            verb = {"stretch": "", "crop": "fill ", "pad": "fit into "}[self.fit]
            target = f"{verb}{self.resize_to[0]} x {self.resize_to[1]}"
        cut = "five crops" if self.crops == 5 else "the centre"
        return f"resized to {target} {how}, then {cut} of {size} pixels{decoded[self.decode]}"

    @property
    def later_fields(self) -> list[str]:
        """The names of the fields whose values only format 2 of the card knows."""
        names = [f.name for f in _FIELDS[_EARLIER:] if getattr(self, f.name) != f.default]
        return ["resize", *names] if self.resize in {"bicubic", "lanczos"} else names


_FIELDS = msgspec.structs.fields(ImageSpec)
_EARLIER = 5

#: The fields of format 1.
FORMAT_1_FIELDS = tuple(field.name for field in _FIELDS[:_EARLIER])
