"""How good predictions are, where the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "Scores",
    "accuracy",
    "bootstrap",
    "calibration_error",
    "macro_f1",
    "scores",
]

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]


class Scores(NamedTuple):
    """The three figures by which models are compared, fractions of 1.

    Attributes:
        accuracy: share of images whose likeliest class is the true one.
        macro_f1: mean F1 over the classes, each counting the same.
        calibration_error: see `calibration_error`.
    """

    accuracy: float
    macro_f1: float
    calibration_error: float


def scores(truth: Labels, probabilities: Floats) -> Scores:
    """Scores probabilities against the truth.

    Args:
        truth: int64 [N], class indices; N is at least 1.
        probabilities: float [N, C].
    """
    predicted = probabilities.argmax(axis=1)
    return Scores(
        accuracy(truth, predicted),
        macro_f1(truth, predicted),
        calibration_error(truth, probabilities),
    )


def accuracy(truth: Labels, predicted: Labels) -> float:
    """Share of the int64 [N] predictions that are true."""
    return float(np.mean(truth == predicted))


def macro_f1(truth: Labels, predicted: Labels) -> float:
    """Mean F1 over the classes that occur in the truth or among the predictions.

    Args:
        truth: int64 [N].
        predicted: int64 [N].
    """
    both = np.stack([truth, predicted])
    classes, codes = np.unique(both, return_inverse=True)
    true, guessed = codes.reshape(both.shape)
    right = np.bincount(true[true == guessed], minlength=len(classes))
    named = np.bincount(codes.reshape(-1), minlength=len(classes))
    return float(np.mean(2 * right / named))


def calibration_error(truth: Labels, probabilities: Floats, bins: int = 15) -> float:
    """Expected calibration error: how far confidence is from the share that is right.

    The predictions are put into bins of equal width by the confidence of their likeliest
    class; the differences between mean confidence and accuracy are averaged over the bins,
    weighted by how many predictions they hold (Guo et al., "On Calibration of Modern Neural
    Networks", 2017, equation 3).

    Args:
        truth: int64 [N].
        probabilities: float [N, C].
        bins: how many.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))


def bootstrap(
    truth: Labels,
    predicted: Labels,
    figure: Callable[[Labels, Labels], float],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Confidence interval of a figure by the percentile bootstrap over the images.

    Args:
        truth: int64 [N].
        predicted: int64 [N].
        figure: such as `accuracy` or `macro_f1`.
        level: share of the resamples that the interval holds.
        resamples: how many times N images are drawn with replacement.
        seed: of the drawing.

    Returns:
        Lower and upper end.
    """
    draw = np.random.default_rng(seed)
    values = [
        figure(truth[rows], predicted[rows])
        for rows in (draw.integers(0, len(truth), len(truth)) for _ in range(resamples))
    ]
    lower, upper = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)
