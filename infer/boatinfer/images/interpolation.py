"""Interpolation between the nearest pixels, also when an image shrinks, as in OpenCV.

Pillow averages over all pixels when it shrinks. ``cv2.resize``, and ``interpolate`` of PyTorch
without ``antialias``, take the 2 x 2 or 4 x 4 pixels around a point; the centres of the pixels of
both images cover the same range ("half-pixel centres"). The cubic kernel is that of Keys (1981)
with a = -0.75, as in both. Bilinear values are rounded as OpenCV does, in fixed-point numbers
(``resize.cpp``, ``INTER_RESIZE_COEF_BITS``): its result is the same, bit for bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["interpolate"]

_CUBIC = -0.75
Doubles = npt.NDArray[np.float64]
_Taps = tuple[npt.NDArray[np.intp], Doubles]


def interpolate(
    pixels: npt.NDArray[np.uint8],
    size: tuple[int, int],
    box: tuple[int, int, int, int],
    *,
    cubic: bool,
) -> npt.NDArray[np.uint8]:
    """Resizes an image, and cuts out a part.

    Args:
        pixels: uint8 [H, W, 3].
        size: height and width of the whole resized image.
        box: first row, first column, last row and last column (excluded) of the part.
        cubic: whether between 4 x 4 pixels, instead of 2 x 2.

    Returns:
        uint8, the part of the resized image.
    """
    top, left, bottom, right = box
    rows, row_weights = _taps(pixels.shape[0], size[0], np.arange(top, bottom), cubic)
    columns, column_weights = _taps(pixels.shape[1], size[1], np.arange(left, right), cubic)
    if not cubic:
        return _bilinear(pixels, (rows, row_weights), (columns, column_weights))
    across = np.einsum(
        "hkwc,hk->hwc", pixels[rows].astype(np.float32), row_weights.astype(np.float32)
    )
    both = np.einsum("hwkc,wk->hwc", across[:, columns], column_weights.astype(np.float32))
    return np.clip(np.rint(both), 0, 255).astype(np.uint8)


def _bilinear(pixels: npt.NDArray[np.uint8], rows: _Taps, columns: _Taps) -> npt.NDArray[np.uint8]:
    """In fixed-point numbers of 11 bits; the intermediate sums lose their last bits."""
    down, across = _fixed(rows[1]), _fixed(columns[1])
    used, places = np.unique(rows[0], return_inverse=True)
    lines = pixels[used].astype(np.int32)
    wide = sum(lines[:, columns[0][:, k]] * across[:, k, None] for k in range(2)) >> 4
    halves = (
        (wide[places.reshape(rows[0].shape)[:, k]] * down[:, k, None, None]) >> 16 for k in range(2)
    )
    return ((sum(halves) + 2) >> 2).astype(np.uint8)


def _fixed(weights: Doubles) -> npt.NDArray[np.int32]:
    return np.rint(weights.astype(np.float32) * np.float32(2048)).astype(np.int32)


def _taps(length: int, resized: int, indices: npt.NDArray[np.intp], cubic: bool) -> _Taps:
    """The pixels [N, 2 or 4] that each pixel of the resized image comes from, and weights."""
    centres = (indices + 0.5) * (length / resized) - 0.5
    first = np.floor(centres)
    offsets = np.arange(-1, 3) if cubic else np.arange(2)
    distances = np.abs((centres - first)[:, None] - offsets)
    taps = np.clip(first[:, None] + offsets, 0, length - 1).astype(np.intp)
    return taps, _keys(distances) if cubic else 1 - distances


def _keys(distance: Doubles) -> Doubles:
    near = (_CUBIC + 2) * distance**3 - (_CUBIC + 3) * distance**2 + 1
    far = _CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, far)
