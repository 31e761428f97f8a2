"""Runs as points whose coordinates have a known sampling variance, for `analysis.yardstick`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boatinfer.analysis.yardstick import Points

__all__ = [
    "class_points",
    "confidence_points",
    "count_points",
    "feature_points",
    "frechet_distances",
    "whitened",
]

Floats = npt.NDArray[np.float64]

#: A bin stands by itself if so many images are expected in it (Cochran, "Some methods for
#: strengthening the common chi-squared tests", 1954).
_EXPECTED = 5.0
#: Confidences are compared in bins that hold at least this share of the usual ones.
_BIN_SHARE = 0.1
#: Directions in which the features vary less than this share of the most are left out.
_MIN_VARIANCE = 1e-6


def class_points(counts: npt.ArrayLike, ordinary: int) -> Points:
    """Points of the class mix; rare classes count as one.

    Args:
        counts: images of each class, [N, K]: of the run that is judged, of ordinary earlier ones,
            and of others.
        ordinary: number of ordinary earlier ones.
    """
    counts = np.asarray(counts, np.float64)
    expected = _expected(counts, ordinary)
    rare = expected < _EXPECTED
    merged = counts[:, rare].sum(axis=1, keepdims=True)
    return count_points(np.hstack([counts[:, ~rare], merged]) if rare.any() else counts)


def confidence_points(counts: npt.ArrayLike, ordinary: int) -> Points:
    """Points of the confidences; neighbouring bins are merged until each holds enough.

    Args:
        counts: images in each bin, in the order of confidence, [N, B]; runs as for `class_points`.
        ordinary: likewise.
    """
    counts = np.asarray(counts, np.float64)
    expected = _expected(counts, ordinary)
    least = max(_EXPECTED, _BIN_SHARE * expected.sum())
    starts, held = [0], 0.0
    for index, number in enumerate(expected[:-1]):
        held += number
        if held >= least and expected[index + 1 :].sum() >= least:
            starts.append(index + 1)
            held = 0.0
    return count_points(np.add.reduceat(counts, starts, axis=1))


def count_points(counts: Floats) -> Points:
    """Points of counts [N, K]: twice the square roots of the shares, each of variance about 1/n.

    Anscombe, "The transformation of Poisson, binomial and negative-binomial data", 1948; the
    distance is twice that of Hellinger.
    """
    sizes = counts.sum(axis=1)
    bins = counts.shape[1]
    shares = (counts + 3 / 8) / (sizes + bins * 3 / 8)[:, np.newaxis]
    return Points(2 * np.sqrt(shares), sizes, bins - 1)


def _expected(counts: Floats, ordinary: int) -> Floats:
    """Images of each bin, in this run or a middling one, if their shares are the ordinary ones."""
    sizes = counts.sum(axis=1)
    earlier = slice(1, 1 + ordinary)
    usual = (counts[earlier] / sizes[earlier, np.newaxis]).mean(axis=0)
    return np.asarray(usual * min(sizes[0], np.median(sizes[earlier])))


def whitened(
    means: Floats, covariances: Floats, sizes: Floats, ordinary: int
) -> tuple[Floats, Floats]:
    """Means and covariances in the axes in which the usual covariance is the identity.

    Args:
        means: of each run, float64 [N, D]; runs as for `class_points`.
        covariances: of each run, float64 [N, D, D].
        sizes: number of images of each run, float64 [N].
        ordinary: as for `class_points`.

    Returns:
        Means [N, R] from the usual one, and covariances [N, R, R], for R <= D axes that vary.
    """
    earlier = slice(1, 1 + ordinary)
    usual = np.average(covariances[earlier], axis=0, weights=sizes[earlier])
    variances, axes = np.linalg.eigh(usual)
    vary = variances > max(float(variances[-1]) * _MIN_VARIANCE, np.finfo(np.float64).tiny)
    scaled = axes[:, vary] / np.sqrt(variances[vary])
    centred = means - means[earlier].mean(axis=0)
    return centred @ scaled, scaled.T @ covariances @ scaled


def frechet_distances(means: Floats, covariances: Floats) -> Floats:
    """Fréchet distances of normal distributions from the usual one, [N].

    Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982;
    here the usual one has the mean 0 and the covariance 1.

    Args:
        means: `whitened`, float64 [N, R].
        covariances: likewise [N, R, R].
    """
    deviations = np.sqrt(np.maximum(np.linalg.eigvalsh(covariances), 0))
    return np.asarray(np.sqrt((means**2).sum(axis=1) + ((deviations - 1) ** 2).sum(axis=1)))


def feature_points(means: Floats, covariances: Floats, sizes: Floats) -> Points:
    """Points of the features: the mean, and the logarithm of the variance along each axis.

    A mean has the variance 1/n. So has, for normal features, the logarithm of a variance over
    the square root of 2; its bias is about -1/n (Bartlett and Kendall, 1946).

    Args:
        means: `whitened`, float64 [N, R].
        covariances: likewise [N, R, R].
        sizes: number of images of each run, float64 [N].
    """
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    floor = np.finfo(np.float64).eps  # all images equal
    logs = (np.log(np.maximum(variances, floor)) + 1 / sizes[:, np.newaxis]) / np.sqrt(2)
    return Points(np.hstack([means, logs]), sizes, 2 * means.shape[1])
