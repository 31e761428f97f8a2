"""Mean and covariance of features, of a random projection to a few axes."""

from __future__ import annotations

import functools

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["AXES", "Accumulator", "Moments", "projected"]

Floats = npt.NDArray[np.float64]

#: Axes that features are projected to, at most.
AXES = 16
#: Significant digits in run.json.
_DIGITS = 6


class Moments(msgspec.Struct, kw_only=True):
    """The first two moments of the features of some images, projected to D axes.

    Attributes:
        images: how many.
        mean: of each axis, [D].
        covariance: with the divisor N - 1; row by row the part up to the diagonal,
            [D (D + 1) / 2], or the diagonal alone, [D].
    """

    images: int
    mean: list[float]
    covariance: list[float]

    def matrix(self) -> Floats:
        """The covariance, [D, D]; zero off the diagonal where only that is known."""
        axes = len(self.mean)
        if len(self.covariance) == axes:
            return np.diag(np.array(self.covariance, np.float64))
        lower = np.zeros((axes, axes))
        lower[np.tril_indices(axes)] = self.covariance
        return np.asarray(lower + np.tril(lower, -1).T)


class Accumulator:
    """Adds up moments, batch by batch.

    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.

    Args:
        axes: number of axes D.

    Attributes:
        images: number of points so far.
    """

    def __init__(self, axes: int) -> None:
        self.images = 0
        self._mean, self._squares = np.zeros(axes), np.zeros((axes, axes))

    def add(self, points: Floats) -> None:
        """Adds points [N, D]."""
        count, mean = len(points), points.mean(axis=0)
        centred, difference = points - mean, mean - self._mean
        total = self.images + count
        self._squares += centred.T @ centred
        self._squares += np.outer(difference, difference) * (self.images * count / total)
        self._mean += difference * (count / total)
        self.images = total

    def moments(self, diagonal: bool) -> Moments:
        """The moments, rounded; of the covariance the diagonal alone if asked for."""
        covariance = self._squares / max(1, self.images - 1)
        lower = np.diag(covariance) if diagonal else covariance[np.tril_indices(len(covariance))]
        return Moments(
            images=self.images,
            mean=[*map(_rounded, self._mean)],
            covariance=[*map(_rounded, lower)],
        )


def projected(features: npt.NDArray[np.float32]) -> Floats:
    """Projects features [N, F] to at most `AXES` random axes, [N, D].

    The axes are the same for all runs: normal random directions, which roughly keep distances
    (Johnson and Lindenstrauss, 1984).
    """
    dimension = features.shape[1]
    if dimension <= AXES:
        return features.astype(np.float64)
    return np.asarray(features.astype(np.float64) @ _axes(dimension))


@functools.cache
def _axes(dimension: int) -> Floats:
    directions = np.random.Generator(np.random.PCG64(dimension)).standard_normal((dimension, AXES))
    return np.asarray(directions / np.sqrt(dimension))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
