"""Makes pictures that are like no training image, to measure novelty by."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from boatinfer.images import Pixels
from boatinfer.images.geometry import fit
from boatinfer.images.spec import ImageSpec

__all__ = ["KINDS", "made_pictures"]

#: Pictures of each kind.
_EACH = 24

_Random = np.random.Generator


def made_pictures(train: Pixels, spec: ImageSpec) -> Iterator[tuple[str, Pixels]]:
    """Makes pictures of all `KINDS`, always the same for the same training images.

    Args:
        train: some training images, uint8 [N, H, W, 3].
        spec: their size.

    Yields:
        The kind, and uint8 [M, H, W, 3].
    """
    for number, (kind, make) in enumerate(KINDS.items()):
        random = np.random.default_rng(number)
        yield kind, np.stack([make(random, train, spec) for _ in range(_EACH)])


def _texture(random: _Random, _: Pixels, spec: ImageSpec) -> Pixels:
    """A smooth random pattern of some scale, in two colours."""
    cells = random.integers(3, 40)
    small = random.integers(0, 256, (cells, cells * 2, 3), np.uint8)
    pattern = fit(small, ImageSpec(height=spec.height, width=spec.width, resize="bilinear"))
    share = (pattern[..., :1] / 255) ** random.uniform(0.5, 2)
    first, second = random.uniform(0, 255, (2, 3))
    return np.asarray(first * share + second * (1 - share), np.uint8)


def _noise(random: _Random, _: Pixels, spec: ImageSpec) -> Pixels:
    """Independent pixels of some contrast around some colour."""
    shape = (spec.height, spec.width, 3)
    noise = random.normal(random.uniform(0, 255, 3), random.uniform(2, 90), shape)
    return np.asarray(noise.clip(0, 255), np.uint8)


def _cut(random: _Random, train: Pixels, spec: ImageSpec) -> Pixels:
    """Tiles of several training images, in any order."""
    rows, columns = (np.linspace(0, side, 5, dtype=int) for side in (spec.height, spec.width))
    height, width = int(np.diff(rows).min()), int(np.diff(columns).min())
    picture = np.array(train[random.integers(len(train))])
    for top in rows[:-1]:
        for left in columns[:-1]:
            y = random.integers(spec.height - height + 1)
            x = random.integers(spec.width - width + 1)
            tile = train[random.integers(len(train)), y : y + height, x : x + width]
            picture[top : top + height, left : left + width] = tile
    return picture


def _mixed(random: _Random, train: Pixels, _: ImageSpec) -> Pixels:
    """Two training images, one above the other, the second upside down."""
    first, second = train[random.integers(len(train), size=2)].astype(np.float32)
    return np.asarray((first + second[::-1]) / 2, np.uint8)


def _scene(random: _Random, _: Pixels, spec: ImageSpec) -> Pixels:
    """Coloured discs and boxes before a graded background."""
    y, x = np.mgrid[: spec.height, : spec.width]
    top, bottom = random.uniform(0, 255, (2, 1, 1, 3))
    share = (y / spec.height)[..., None]
    picture = top * (1 - share) + bottom * share
    for _number in range(random.integers(3, 20)):
        cy, cx = random.uniform(0, spec.height), random.uniform(0, spec.width)
        half = random.uniform(0.03, 0.3, 2) * spec.height
        dy, dx = abs(y - cy) / half[0], abs(x - cx) / half[1]
        inside = np.hypot(dy, dx) < 1 if random.random() < 0.5 else np.maximum(dy, dx) < 1
        picture[inside] = random.uniform(0, 255, 3)
    return np.asarray(picture, np.uint8)


#: The kinds of pictures, and how one is made.
KINDS: dict[str, Callable[[_Random, Pixels, ImageSpec], Pixels]] = {
    "textures": _texture,
    "noise": _noise,
    "cut": _cut,
    "mixed": _mixed,
    "scenes": _scene,
}
