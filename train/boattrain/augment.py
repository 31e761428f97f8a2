"""Random augmentation of training images.

Every function takes its random generator as an argument and changes nothing else, so a batch
depends on the generator's seed only, whichever thread makes it.
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

FloatArray = npt.NDArray[np.float64]

#: Range of the sides of an erased rectangle, as fractions of the image's shorter side.
_ERASED_SIDES = (0.1, 0.5)


AUGMENTATION = "Augmentation of training images"


def _strength(high: float, text: str) -> Any:
    return typer.Option(min=0, max=high, metavar="FLOAT", help=text, rich_help_panel=AUGMENTATION)


# Aliases, so that a network's options can repeat a declaration with another default.
Flip = Annotated[
    bool,
    typer.Option(
        "--flip/--no-flip",
        help="Flip half of the images horizontally.",
        rich_help_panel=AUGMENTATION,
    ),
]
Shift = Annotated[float, _strength(0.5, "Largest random shift, as a fraction of height and width.")]
Zoom = Annotated[float, _strength(0.9, "Largest random zoom in or out, as a fraction of the size.")]
Rotate = Annotated[float, _strength(180, "Largest random rotation either way, in degrees.")]
Brightness = Annotated[
    float, _strength(1, "Largest random change of brightness, as a fraction of the value range.")
]
Contrast = Annotated[float, _strength(1, "Largest random change of contrast, as a fraction.")]
Saturation = Annotated[float, _strength(1, "Largest random change of saturation, as a fraction.")]
Tint = Annotated[
    float, _strength(1, "Largest random change of each of red, green and blue, as a fraction.")
]
Erase = Annotated[
    float, _strength(1, "Probability of random erasing: a rectangle of a random colour.")
]


@dataclass(frozen=True)
class Augmentation:
    """Kinds and strengths of augmentation; the help of each field describes it."""

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
    def is_geometric(self) -> bool:
        """Whether there is a shift, zoom or rotation."""
        return bool(self.shift or self.zoom or self.rotate)

    @property
    def is_photometric(self) -> bool:
        """Whether pixel values change."""
        return bool(self.brightness or self.contrast or self.saturation or self.tint)

    @property
    def has_augmentation(self) -> bool:
        """Whether there is any augmentation."""
        return bool(self.flip or self.is_geometric or self.is_photometric or self.erase)


def augment(pixels: Pixels, options: Augmentation, generator: np.random.Generator) -> Pixels:
    """Augments each image by random amounts, uniform in the ranges of the options.

    1. It is flipped, shifted, zoomed and rotated; outside of its edges it is mirrored.
    2. Each value ``p`` of a pixel becomes ``(q - m) * (1 + contrast) + m + brightness``, cut
       to 0..255, where ``q = ((p - g) * (1 + saturation) + g) * (1 + tint)``, ``g`` is the mean
       of the pixel's three values, the tint that of its colour, and ``m`` the mean of all ``p``.
    3. In some images a rectangle gets a random colour (Zhong et al., "Random Erasing Data
       Augmentation", 2020).

    Args:
        pixels: uint8 [N, H, W, 3], RGB; not changed.
        options: kinds and strengths.
        generator: random generator.

    Returns:
        uint8 [N, H, W, 3].
    """
    count = len(pixels)
    # All amounts are always drawn, so that an option does not change the effect of the others.
    flips = generator.random(count) < 0.5
    right, down, zoom, rotation, brightness, contrast, saturation, *tint = generator.uniform(
        -1, 1, (10, count)
    )
    if options.is_geometric:
        sign = np.where(options.flip & flips, -1, 1)
        shift = np.stack([right, down]) * options.shift
        angle = np.radians(rotation * options.rotate)
        pixels = _transform(pixels, sign, shift, 1 + zoom * options.zoom, angle)
    elif options.flip:
        pixels = pixels.copy()
        pixels[flips] = pixels[flips, :, ::-1]
    if options.is_photometric:
        pixels = _recolour(
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
    """Mixes each image, and its target, with another one of the batch.

    As Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018, but with a saturating
    weight of its own for each image.

    Args:
        pixels: uint8 [N, H, W, 3], RGB.
        targets: float32 [N, C], rows sum to 1.
        alpha: both parameters of the beta distribution of the weights, above 0.
        generator: random generator.

    Returns:
        Mixed pixels and targets, of the same shapes and types.
    """
    weights = generator.beta(alpha, alpha, len(pixels)).astype(np.float32)
    partners = generator.permutation(len(pixels))
    pixel_weights, target_weights = weights[:, None, None, None], weights[:, None]
    mixed_pixels = pixels * pixel_weights + pixels[partners] * (1 - pixel_weights)
    mixed_targets = targets * target_weights + targets[partners] * (1 - target_weights)
    return np.rint(mixed_pixels).astype(np.uint8), mixed_targets


def _transform(
    pixels: Pixels, sign: FloatArray, shift: FloatArray, zoom: FloatArray, angle: FloatArray
) -> Pixels:
    """Applies an affine transformation to each image, bilinear and mirrored at the edges.

    Args:
        pixels: uint8 [N, H, W, 3].
        sign: [N], -1 to flip, otherwise 1.
        shift: [2, N], right and down, as fractions of width and height.
        zoom: [N], size of the visible window, 1 being that of the image.
        angle: [N], radians.
    """
    height, width = pixels.shape[1:3]
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    extent = np.abs([[cosine, sine], [sine, cosine]]) * np.array([width, height])[None, :, None]
    window = extent.sum(axis=1) / 2 + np.abs(shift) * np.array([[width], [height]])
    pad_x, pad_y = np.ceil(window.max(axis=1) - [width / 2, height / 2]).astype(int).clip(1)
    padded = np.pad(pixels, ((0, 0), (pad_y, pad_y), (pad_x, pad_x), (0, 0)), mode="reflect")
    # Pixel (x, y) of the result is pixel (a x + b y + c, d x + e y + f) of the padded image.
    a, b, d, e = cosine * sign, -sine, sine * sign, cosine
    c = pad_x + width * (0.5 + shift[0]) - (a * width + b * height) / 2
    f = pad_y + height * (0.5 + shift[1]) - (d * width + e * height) / 2
    transformed, size = np.empty_like(pixels), (width, height)
    for row, matrix in enumerate(np.stack([a, b, c, d, e, f], axis=1).tolist()):
        image = Image.fromarray(padded[row])
        transformed[row] = np.asarray(
            image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        )
    return transformed


def _recolour(
    pixels: Pixels,
    brightness: FloatArray,
    contrast: FloatArray,
    saturation: FloatArray,
    tint: FloatArray,
) -> Pixels:
    """Applies a linear map of the colours to each image.

    Args:
        pixels: uint8 [N, H, W, 3].
        brightness: [N], added.
        contrast: [N], multiplies the distance to the image's mean.
        saturation: [N], multiplies the distance to the pixel's mean.
        tint: [N, 3], multiplies red, green and blue.
    """
    grey = np.full((3, 3), 1 / 3)
    saturating = saturation[:, None, None] * (np.eye(3) - grey) + grey
    means = pixels.mean(axis=(1, 2, 3))
    matrices = contrast[:, None, None] * tint[:, :, None] * saturating
    offsets = means * (1 - contrast) + brightness
    maps = np.concatenate([matrices, np.repeat(offsets[:, None, None], 3, axis=1)], axis=2)
    recoloured = np.empty_like(pixels)
    for row, values in enumerate(maps.reshape(-1, 12).tolist()):
        recoloured[row] = np.asarray(Image.fromarray(pixels[row]).convert("RGB", tuple(values)))
    return recoloured


def _erase(pixels: Pixels, probability: float, generator: np.random.Generator) -> Pixels:
    """Covers a rectangle with one random colour in some of the images."""
    count, height, width, _ = pixels.shape
    chosen = np.flatnonzero(generator.random(count) < probability)
    sides = (
        np.rint(generator.uniform(*_ERASED_SIDES, (count, 2)) * min(height, width))
        .clip(1)
        .astype(int)
    )
    corners = (generator.random((count, 2)) * ([height + 1, width + 1] - sides)).astype(int)
    colours = generator.integers(0, 256, (count, 3), np.uint8)
    erased = pixels.copy()
    for row in chosen:
        (top, left), (rows, columns) = corners[row], sides[row]
        erased[row, top : top + rows, left : left + columns] = colours[row]
    return erased
