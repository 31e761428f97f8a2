"""How good predictions are, where the truth is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "Calibration",
    "ClassScores",
    "Intervals",
    "RiskCoverage",
    "Scores",
    "accuracy",
    "calibration",
    "calibration_error",
    "class_scores",
    "confusion",
    "intervals",
    "macro_f1",
    "mcnemar",
    "ranks",
    "risk_coverage",
    "scores",
    "wilson",
]

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]
Counts = npt.NDArray[Any]
Truths = npt.NDArray[np.bool_]

#: Numbers that `intervals` holds at a time, at most.
_RESAMPLED = 4_000_000


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
    right = probabilities.argmax(axis=1) == truth
    return calibration(right, probabilities.max(axis=1), bins).error


class Calibration(NamedTuple):
    """Predictions in bins of equal width by their confidence, from 0 to 1.

    Attributes:
        images: int64 [B], predictions in the bin.
        confidence: float64 [B], their mean confidence; NaN for an empty bin.
        accuracy: float64 [B], the share of them that is right; NaN for an empty bin.
    """

    images: Labels
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error, see `calibration_error`."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float(np.nansum(gaps * self.images) / self.images.sum())


def calibration(right: Truths, confidence: Floats, bins: int = 15) -> Calibration:
    """The calibration curve: accuracy by confidence.

    Args:
        right: bool [N], whether each prediction is true; N is at least 1.
        confidence: float [N], the probability of each prediction.
        bins: B, how many.
    """
    confidence = confidence.astype(np.float64)
    bin_of = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    images = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, weights=of, minlength=bins) for of in (confidence, right)]
    filled = np.where(images, images, np.nan)
    return Calibration(images, sums[0] / filled, sums[1] / filled)


def confusion(truth: Labels, predicted: Labels, classes: int) -> Labels:
    """Counts of images, int64 [C, C]: rows are true classes, columns predicted ones."""
    both = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return both.reshape(classes, classes)


class ClassScores(NamedTuple):
    """Scores of each class, float64 [C]; NaN where nothing says anything about it.

    Attributes:
        precision: share of the images given this class that are of it.
        recall: share of the images of this class that were given it.
        f1: harmonic mean of the two.
    """

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]


def class_scores(confusion: Labels) -> ClassScores:
    """Scores each class.

    Args:
        confusion: counts as `confusion` gives, [C, C].
    """
    return _scores(confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0))


def _scores(right: Counts, true: Counts, predicted: Counts) -> ClassScores:
    with np.errstate(invalid="ignore"):  # 0 / 0: nothing is known
        return ClassScores(right / predicted, right / true, 2 * right / (true + predicted))


def wilson(right: Counts, of: Counts, level: float = 0.95) -> npt.NDArray[np.float64]:
    """Confidence intervals of shares: of 0 of 22 it is 0 to 0.15, where a bootstrap says 0 to 0.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Args:
        right: [N], how many.
        of: [N], of how many; may be 0.
        level: probability that an interval holds the true share.

    Returns:
        float64 [2, N], lower and upper ends; NaN for a share of nothing.
    """
    from scipy.special import ndtri

    z = ndtri((1 + level) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0: nothing is known
        share, spread = right / of, z * z / of
        middle = share + spread / 2
        half = np.sqrt(spread * (share * (1 - share) + spread / 4))
        ends = np.stack([middle - half, middle + half]) / (1 + spread)
    ends[0, np.equal(right, 0)], ends[1, np.equal(right, of)] = 0, 1  # without rounding errors
    return np.where(np.equal(of, 0), np.nan, ends)


class Intervals(NamedTuple):
    """Lower and upper ends of confidence intervals.

    Attributes:
        accuracy: float64 [2].
        macro_f1: float64 [2].
        precision: float64 [2, C]; NaN where nothing is known; recall and f1 likewise.
        recall: float64 [2, C].
        f1: float64 [2, C].
    """

    accuracy: npt.NDArray[np.float64]
    macro_f1: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]


def intervals(
    confusion: Labels, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Intervals:
    """Confidence intervals of all figures.

    Accuracy, precision and recall are shares of images, so theirs are `wilson`'s. So is F1's: it
    is 2 J / (1 + J), where J is the share of images that are right among those that are of the
    class or were given it. Macro-F1's is the percentile bootstrap over the images.

    Images of one cell of the confusion matrix are alike to every figure, so that drawing N
    images with replacement is one draw of the cells' counts from a multinomial distribution.

    Args:
        confusion: counts as `confusion` gives, [C, C].
        level: share of the resamples that an interval holds.
        resamples: how many times N images are drawn.
        seed: of the drawing.
    """
    draw, total = np.random.default_rng(seed), int(confusion.sum())
    true, predicted = np.nonzero(confusion)
    of_true, of_predicted = (np.eye(len(confusion))[cells] for cells in (true, predicted))
    of_both = of_true * of_predicted
    shares = confusion[true, predicted] / total
    at_once = max(1, _RESAMPLED // len(shares))
    macro = []
    for start in range(0, resamples, at_once):
        counts = draw.multinomial(total, shares, min(at_once, resamples - start))
        right, of, given = counts @ of_both, counts @ of_true, counts @ of_predicted
        macro.append(np.nanmean(_scores(right, of, given).f1, axis=1))
    ends = [(1 - level) / 2, (1 + level) / 2]
    hits, own, named = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    either = wilson(hits, own + named - hits, level)
    return Intervals(
        accuracy=wilson(np.array([hits.sum()]), np.array([total]), level)[:, 0],
        macro_f1=np.quantile(np.concatenate(macro), ends),
        precision=wilson(hits, named, level),
        recall=wilson(hits, own, level),
        f1=2 * either / (1 + either),
    )


def ranks(probabilities: Floats, truth: Labels) -> Labels:
    """Places of the true classes among all, int64 [N], 0 for the likeliest.

    Of classes equally likely the first comes first, as everywhere.

    Args:
        probabilities: float [N, C].
        truth: int64 [N].
    """
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)
    before = np.arange(probabilities.shape[1]) < truth[:, None]
    above = (probabilities > own) | ((probabilities == own) & before)
    return np.asarray(above.sum(axis=1), np.int64)


class RiskCoverage(NamedTuple):
    """What is left to a machine that abstains below a threshold, and how good it then is.

    Attributes:
        threshold: float64 [T], confidences in falling order; what is below is left to people.
        coverage: float64 [T], share of the predictions that is kept.
        accuracy: float64 [T], share of those that is right.
    """

    threshold: npt.NDArray[np.float64]
    coverage: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]

    def at(self, coverage: float) -> int:
        """The place of the highest threshold that keeps at least this share."""
        return int(np.searchsorted(self.coverage, coverage - 1e-9))

    def points(self, coverages: Iterable[float]) -> list[dict[str, float]]:
        """The points `at` some coverages, each once, by the names of their figures."""
        places = dict.fromkeys(self.at(coverage) for coverage in coverages)
        figures = np.stack(self, axis=1)
        return [dict(zip(self._fields, figures[p].tolist(), strict=True)) for p in places]


def risk_coverage(right: Truths, confidence: Floats) -> RiskCoverage:
    """The risk-coverage curve, at every confidence that occurs.

    Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017.

    Args:
        right: bool [N], whether each prediction is true; N is at least 1.
        confidence: float [N].
    """
    thresholds, places, images = np.unique(-confidence, return_inverse=True, return_counts=True)
    kept = np.cumsum(images)
    hits = np.cumsum(np.bincount(places, weights=right))
    return RiskCoverage(-thresholds.astype(np.float64), kept / len(right), hits / kept)


def mcnemar(right: Truths, other: Truths) -> float:
    """P-value of McNemar's exact test: are two classifiers equally often right?

    Only the images that one has right and the other has wrong count; were both equally good,
    either would be right with probability 1/2 (McNemar, "Note on the sampling error of the
    difference between correlated proportions or percentages", 1947).

    Args:
        right: bool [N], where the one is right.
        other: bool [N], where the other is, on the same images.
    """
    from scipy.stats import binomtest

    one, both = int((right & ~other).sum()), int((right ^ other).sum())
    return float(binomtest(one, both).pvalue) if both else 1.0
