"""Interpolation between the nearest pixels, also when an image shrinks, as in OpenCV.

Pillow averages over all pixels when it shrinks. ``cv2.resize``, and ``interpolate`` of PyTorch
without ``antialias``, take the 2 x 2, 4 x 4 or 8 x 8 pixels around a point; the centres of the
pixels of both images cover the same range ("half-pixel centres"). The cubic kernel is that of Keys
(1981) with a = -0.75, as in both, and Lanczos has 4 lobes, as in OpenCV. Bilinear values are
rounded as OpenCV does, in fixed-point numbers (``resize.cpp``, ``INTER_RESIZE_COEF_BITS``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["interpolate"]

_CUBIC = -0.75
Floats = npt.NDArray[np.float32]
_Taps = tuple[npt.NDArray[np.intp], Floats]


def interpolate(
    pixels: npt.NDArray[np.uint8],
    size: tuple[int, int],
    box: tuple[int, int, int, int],
    *,
    resize: str,
) -> npt.NDArray[np.uint8]:
    """Resizes an image, and cuts out a part.

    Args:
        pixels: uint8 [H, W, 3].
        size: height and width of the whole resized image.
        box: first row, first column, last row and last column (excluded) of the part.
        resize: ``bilinear``, between 2 x 2 pixels, ``bicubic``, 4 x 4, or ``lanczos``, 8 x 8.

    Returns:
        uint8, the part of the resized image.
    """
    top, left, bottom, right = box
    rows, row_weights = _taps(pixels.shape[0], size[0], np.arange(top, bottom), resize)
    columns, column_weights = _taps(pixels.shape[1], size[1], np.arange(left, right), resize)
    used, places = np.unique(rows, return_inverse=True)
    combine = _bilinear if resize == "bilinear" else _smooth
    return combine(
        pixels[used], (places.reshape(rows.shape), row_weights), (columns, column_weights)
    )


def _smooth(lines: npt.NDArray[np.uint8], rows: _Taps, columns: _Taps) -> npt.NDArray[np.uint8]:
    across = np.zeros((len(lines), len(columns[0]), 3), np.float32)
    for place, weight in zip(columns[0].T, columns[1].T, strict=True):  # little memory at a time
        across += lines[:, place] * weight[:, None]
    both = np.zeros((len(rows[0]), *across.shape[1:]), np.float32)
    for place, weight in zip(rows[0].T, rows[1].T, strict=True):
        both += across[place] * weight[:, None, None]
    return np.asarray(np.clip(np.rint(both), 0, 255), np.uint8)


def _bilinear(lines: npt.NDArray[np.uint8], rows: _Taps, columns: _Taps) -> npt.NDArray[np.uint8]:
    """In fixed-point numbers of 11 bits; the intermediate sums lose their last bits."""
    down, across = _fixed(rows[1]), _fixed(columns[1])
    first, second = (lines[:, columns[0][:, k]] * across[:, k, None] for k in range(2))
    wide = (first + second) >> 4
    upper, lower = (wide[rows[0][:, k]] * down[:, k, None, None] >> 16 for k in range(2))
    return np.asarray((upper + lower + 2) >> 2, np.uint8)


def _fixed(weights: Floats) -> npt.NDArray[np.int32]:
    return np.asarray(np.rint(weights * np.float32(2048)), np.int32)


def _taps(length: int, resized: int, indices: npt.NDArray[np.intp], resize: str) -> _Taps:
    """The pixels [N, 2, 4 or 8] that each pixel of the resized image comes from, and weights."""
    reach, kernel = _KERNELS[resize]
    centres = ((indices + 0.5) * (length / resized) - 0.5).astype(np.float32)
    first = np.floor(centres)
    offsets = np.arange(1 - reach, 1 + reach)
    weights = kernel(np.abs((centres - first)[:, None] - offsets).astype(np.float32))
    taps = np.clip(first[:, None] + offsets, 0, length - 1).astype(np.intp)
    return taps, weights / weights.sum(axis=1, keepdims=True)


def _keys(distance: Floats) -> Floats:
    near = (_CUBIC + 2) * distance**3 - (_CUBIC + 3) * distance**2 + 1
    far = _CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, far)


def _lanczos(distance: Floats) -> Floats:
    return np.asarray(np.sinc(distance) * np.sinc(distance / 4), np.float32)


#: Pixels on each side, and weight by distance.
_KERNELS: dict[str, tuple[int, Callable[[Floats], Floats]]] = {
    "bilinear": (1, lambda distance: 1 - distance),
    "bicubic": (2, _keys),
    "lanczos": (4, _lanczos),
}
