"""Random changes of training images that leave their class as it is.

Every function takes its own random generator and touches nothing else, so that a batch
depends on the generator's seed alone, whatever thread makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image

from boatinfer.images import Pixels

__all__ = ["AUGMENTATION", "Augmentation", "augment", "mixup"]

Reals = npt.NDArray[np.float64]

#: Least and greatest side of what is erased, as parts of the image's shorter side.
_ERASED = (0.1, 0.5)


AUGMENTATION = "Augmentation of training images"


def _amount(most: float, text: str) -> Any:
    return typer.Option(min=0, max=most, help=text, rich_help_panel=AUGMENTATION)


# Named, so that a network may give one another default.
Flip = Annotated[
    bool,
    typer.Option(
        "--flip/--no-flip",
        help="Mirror half of the images, left to right.",
        rich_help_panel=AUGMENTATION,
    ),
]
Shift = Annotated[float, _amount(0.5, "Move by up to this part of height and width.")]
Zoom = Annotated[float, _amount(0.9, "Enlarge or shrink by up to this part.")]
Rotate = Annotated[float, _amount(180, "Turn by up to this many degrees, either way.")]
Brightness = Annotated[float, _amount(1, "Lighten or darken by up to this part of the range.")]
Contrast = Annotated[float, _amount(1, "Raise or lower the contrast by up to this part.")]
Saturation = Annotated[float, _amount(1, "Strengthen or fade the colours by up to this part.")]
Tint = Annotated[float, _amount(1, "Raise or lower red, green and blue, each by up to this part.")]
Erase = Annotated[float, _amount(1, "In this part of the images, hide a rectangle.")]


@dataclass(frozen=True)
class Augmentation:
    """How far training images may be changed; each field's help says what it does."""

    flip: Flip = False
    shift: Shift = 0.0
    zoom: Zoom = 0.0
    rotate: Rotate = 0.0
    brightness: Brightness = 0.0
    contrast: Contrast = 0.0
    saturation: Saturation = 0.0
    tint: Tint = 0.0
    erase: Erase = 0.0

    @property
    def moves(self) -> bool:
        """Whether the pixels change places, other than by a flip."""
        return bool(self.shift or self.zoom or self.rotate)

    @property
    def shades(self) -> bool:
        """Whether the pixels change values."""
        return bool(self.brightness or self.contrast or self.saturation or self.tint)

    @property
    def augments(self) -> bool:
        """Whether anything changes at all."""
        return bool(self.flip or self.moves or self.shades or self.erase)


def augment(pixels: Pixels, options: Augmentation, generator: np.random.Generator) -> Pixels:
    """Changes each image by amounts of its own, drawn evenly from the options' ranges.

    1. It is flipped, moved, resized and turned. What comes into view from outside of it is
       the image mirrored at its edge.
    2. Each value ``p`` of a pixel becomes ``(q - m) * (1 + contrast) + m + brightness``, cut
       to 0..255, where ``q = ((p - g) * (1 + saturation) + g) * (1 + tint)``, ``g`` is the mean
       of the pixel's three values, the tint that of its colour, and ``m`` the mean of all ``p``.
    3. Some images lose a rectangle to a random colour (Zhong et al., "Random Erasing Data
       Augmentation", 2020).

    Args:
        pixels: uint8 [N, H, W, 3], RGB; stays as it is.
        options: what may change, and how far.
        generator: where the amounts come from.

    Returns:
        uint8 [N, H, W, 3].
    """
    count = len(pixels)
    # All amounts are drawn always, so that an option changes nothing but its own effect.
    flips = generator.random(count) < 0.5
    right, down, zoom, turn, brightness, contrast, saturation, *tint = generator.uniform(
        -1, 1, (10, count)
    )
    if options.moves:
        sign = np.where(options.flip & flips, -1, 1)
        shift = np.stack([right, down]) * options.shift
        angle = np.radians(turn * options.rotate)
        pixels = _move(pixels, sign, shift, 1 + zoom * options.zoom, angle)
    elif options.flip:
        pixels = pixels.copy()
        pixels[flips] = pixels[flips, :, ::-1]
    if options.shades:
        pixels = _shade(
            pixels,
            brightness * options.brightness * 255,
            1 + contrast * options.contrast,
            1 + saturation * options.saturation,
            1 + np.stack(tint, axis=1) * options.tint,
        )
    if options.erase:
        pixels = _erase(pixels, options.erase, generator)
    return pixels


def mixup(
    pixels: Pixels, targets: npt.NDArray[np.float32], alpha: float, generator: np.random.Generator
) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """Blends each image, and its target, with another of the batch.

    The method is that of Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018,
    with a share of its own for each image.

    Args:
        pixels: uint8 [N, H, W, 3], RGB.
        targets: float32 [N, C], rows sum to 1.
        alpha: both parameters of the beta distribution of the shares, above 0.
        generator: where shares and partners come from.

    Returns:
        Blended pixels and targets, as the arguments.
    """
    share = generator.beta(alpha, alpha, len(pixels)).astype(np.float32)
    partner = generator.permutation(len(pixels))
    own = share[:, None, None, None]
    blended = pixels * own + pixels[partner] * (1 - own)
    mixed = targets * share[:, None] + targets[partner] * (1 - share[:, None])
    return np.rint(blended).astype(np.uint8), mixed


def _move(pixels: Pixels, sign: Reals, shift: Reals, zoom: Reals, angle: Reals) -> Pixels:
    """Looks at each image through a window that is moved, resized and turned.

    Args:
        pixels: uint8 [N, H, W, 3].
        sign: [N], -1 to mirror, otherwise 1.
        shift: [2, N], right and down, parts of width and height.
        zoom: [N], the window's size, 1 being that of the image.
        angle: [N], radians.
    """
    height, width = pixels.shape[1:3]
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    reach = np.abs([[cosine, sine], [sine, cosine]]) * np.array([width, height])[None, :, None]
    window = reach.sum(axis=1) / 2 + np.abs(shift) * np.array([[width], [height]])
    across, down = np.ceil(window.max(axis=1) - [width / 2, height / 2]).astype(int).clip(1)
    plane = np.pad(pixels, ((0, 0), (down, down), (across, across), (0, 0)), mode="reflect")
    # A place (x, y) of the result shows (a x + b y + c, d x + e y + f) of the plane.
    a, b, d, e = cosine * sign, -sine, sine * sign, cosine
    c = across + width * (0.5 + shift[0]) - (a * width + b * height) / 2
    f = down + height * (0.5 + shift[1]) - (d * width + e * height) / 2
    moved, size = np.empty_like(pixels), (width, height)
    for row, matrix in enumerate(np.stack([a, b, c, d, e, f], axis=1).tolist()):
        image = Image.fromarray(plane[row])
        moved[row] = np.asarray(
            image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        )
    return moved


def _shade(
    pixels: Pixels, brightness: Reals, contrast: Reals, saturation: Reals, tint: Reals
) -> Pixels:
    """Puts every pixel through a linear map of its image.

    Args:
        pixels: uint8 [N, H, W, 3].
        brightness: [N], is added.
        contrast: [N], multiplies the distance to the image's mean.
        saturation: [N], multiplies the distance to the pixel's mean.
        tint: [N, 3], multiplies red, green and blue.
    """
    grey = np.full((3, 3), 1 / 3)
    mixing = saturation[:, None, None] * (np.eye(3) - grey) + grey
    means = pixels.mean(axis=(1, 2, 3))
    matrices = contrast[:, None, None] * tint[:, :, None] * mixing
    offsets = means * (1 - contrast) + brightness
    maps = np.concatenate([matrices, np.repeat(offsets[:, None, None], 3, axis=1)], axis=2)
    shaded = np.empty_like(pixels)
    for row, values in enumerate(maps.reshape(-1, 12).tolist()):
        shaded[row] = np.asarray(Image.fromarray(pixels[row]).convert("RGB", tuple(values)))
    return shaded


def _erase(pixels: Pixels, share: float, generator: np.random.Generator) -> Pixels:
    """Covers a rectangle in a share of the images, with one colour."""
    count, height, width, _ = pixels.shape
    chosen = np.flatnonzero(generator.random(count) < share)
    sides = (
        np.rint(generator.uniform(*_ERASED, (count, 2)) * min(height, width)).clip(1).astype(int)
    )
    corners = (generator.random((count, 2)) * ([height + 1, width + 1] - sides)).astype(int)
    colours = generator.integers(0, 256, (count, 3), np.uint8)
    erased = pixels.copy()
    for row in chosen:
        (top, left), (down, across) = corners[row], sides[row]
        erased[row, top : top + down, left : left + across] = colours[row]
    return erased
