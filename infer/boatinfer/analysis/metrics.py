"""Metrics of classification: accuracy, F1, calibration, risk and coverage, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
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
    "binomial_tail",
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
Mask = npt.NDArray[np.bool_]

#: Elements of an array of bootstrap samples, at most.
_RESAMPLED = 4_000_000


class Scores(NamedTuple):
    """The three metrics by which models are compared, from 0 to 1.

    Attributes:
        accuracy: share of images that are classified correctly.
        macro_f1: unweighted mean of F1 over the classes.
        calibration_error: see `calibration_error`.
    """

    accuracy: float
    macro_f1: float
    calibration_error: float


def scores(truth: Labels, probabilities: Floats) -> Scores:
    """Computes the metrics of probabilities against the ground truth.

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
    """Share of the int64 [N] predictions that are correct."""
    return float(np.mean(truth == predicted))


def macro_f1(truth: Labels, predicted: Labels) -> float:
    """Mean F1 over the classes that occur in the truth or among the predictions.

    Args:
        truth: int64 [N].
        predicted: int64 [N].
    """
    stacked = np.stack([truth, predicted])
    classes, codes = np.unique(stacked, return_inverse=True)
    true_codes, predicted_codes = codes.reshape(stacked.shape)
    correct = np.bincount(true_codes[true_codes == predicted_codes], minlength=len(classes))
    counts = np.bincount(codes.reshape(-1), minlength=len(classes))
    return float(np.mean(2 * correct / counts))


def calibration_error(truth: Labels, probabilities: Floats, bins: int = 15) -> float:
    """Expected calibration error: the mean difference between confidence and accuracy.

    The predictions are put into bins of equal width by their confidence; the differences between
    mean confidence and accuracy are averaged over the bins, weighted by their numbers of
    predictions (Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 3).

    Args:
        truth: int64 [N].
        probabilities: float [N, C].
        bins: number of bins.
    """
    correct = probabilities.argmax(axis=1) == truth
    return calibration(correct, probabilities.max(axis=1), bins).error


class Calibration(NamedTuple):
    """Predictions in bins of equal width by their confidence, from 0 to 1.

    Attributes:
        images: int64 [B], number of predictions.
        confidence: float64 [B], mean confidence; NaN for an empty bin.
        accuracy: float64 [B], accuracy; NaN for an empty bin.
    """

    images: Labels
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error, see `calibration_error`."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float(np.nansum(gaps * self.images) / self.images.sum())


def calibration(correct: Mask, confidence: Floats, bins: int = 15) -> Calibration:
    """The calibration curve: accuracy by confidence.

    Args:
        correct: bool [N], whether each prediction is correct; N is at least 1.
        confidence: float [N], the probability of each predicted class.
        bins: B, the number of bins.
    """
    confidence = confidence.astype(np.float64)
    bin_of = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    images = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, weights=values, minlength=bins) for values in (confidence, correct)]
    filled = np.where(images, images, np.nan)
    return Calibration(images, sums[0] / filled, sums[1] / filled)


def confusion(truth: Labels, predicted: Labels, classes: int) -> Labels:
    """Counts of images, int64 [C, C]: rows are true classes, columns predicted ones."""
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


class ClassScores(NamedTuple):
    """Scores of each class, float64 [C]; NaN where undefined.

    Attributes:
        precision: share of the images predicted as this class that are of it.
        recall: share of the images of this class that are predicted as it.
        f1: harmonic mean of the two.
    """

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]


def class_scores(confusion: Labels) -> ClassScores:
    """Computes the scores of each class.

    Args:
        confusion: a confusion matrix [C, C], see `confusion`.
    """
    return _scores(confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0))


def _scores(correct: Counts, true_counts: Counts, predicted_counts: Counts) -> ClassScores:
    with np.errstate(invalid="ignore"):  # 0 / 0 is undefined
        return ClassScores(
            correct / predicted_counts,
            correct / true_counts,
            2 * correct / (true_counts + predicted_counts),
        )


def wilson(successes: Counts, trials: Counts, level: float = 0.95) -> npt.NDArray[np.float64]:
    """Wilson score intervals of proportions: for 0 of 22 it is 0 to 0.15; a bootstrap's is 0 to 0.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Args:
        successes: [N].
        trials: [N]; may be 0.
        level: probability that an interval contains the true proportion.

    Returns:
        float64 [2, N], lower and upper ends; NaN for 0 trials.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is undefined
        share, spread = successes / trials, z * z / trials
        middle = share + spread / 2
        half = np.sqrt(spread * (share * (1 - share) + spread / 4))
        ends = np.stack([middle - half, middle + half]) / (1 + spread)
    ends[0, np.equal(successes, 0)], ends[1, np.equal(successes, trials)] = (
        0,
        1,
    )  # without rounding errors
    return np.where(np.equal(trials, 0), np.nan, ends)


class Intervals(NamedTuple):
    """Lower and upper ends of confidence intervals.

    Attributes:
        accuracy: float64 [2].
        macro_f1: float64 [2].
        precision: float64 [2, C]; NaN where undefined.
        recall: float64 [2, C]; likewise.
        f1: float64 [2, C]; likewise.
    """

    accuracy: npt.NDArray[np.float64]
    macro_f1: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]


def intervals(
    confusion: Labels, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Intervals:
    """Confidence intervals of all metrics.

    Accuracy, precision and recall are proportions of images, and have Wilson intervals. So has F1:
    it is 2 J / (1 + J), where J, the Jaccard index, is the proportion of correct predictions among
    the images that are of the class or are predicted as it. Macro-F1 has a percentile bootstrap
    interval over the images.

    The metrics depend only on the counts in the confusion matrix, so drawing N images with
    replacement is one draw of these counts from a multinomial distribution.

    Args:
        confusion: a confusion matrix [C, C], see `confusion`.
        level: confidence level.
        resamples: number of bootstrap samples.
        seed: seed of the random generator.
    """
    generator, total = np.random.default_rng(seed), int(confusion.sum())
    true, predicted = np.nonzero(confusion)
    is_true, is_predicted = (np.eye(len(confusion))[cells] for cells in (true, predicted))
    is_correct = is_true * is_predicted
    shares = confusion[true, predicted] / total
    batch = max(1, _RESAMPLED // len(shares))
    macro_f1s = []
    for start in range(0, resamples, batch):
        counts = generator.multinomial(total, shares, min(batch, resamples - start))
        correct, true_counts, predicted_counts = (
            counts @ is_correct,
            counts @ is_true,
            counts @ is_predicted,
        )
        macro_f1s.append(np.nanmean(_scores(correct, true_counts, predicted_counts).f1, axis=1))
    ends = [(1 - level) / 2, (1 + level) / 2]
    correct_counts, class_counts, predicted_totals = (
        confusion.diagonal(),
        confusion.sum(axis=1),
        confusion.sum(axis=0),
    )
    jaccard = wilson(correct_counts, class_counts + predicted_totals - correct_counts, level)
    return Intervals(
        accuracy=wilson(np.array([correct_counts.sum()]), np.array([total]), level)[:, 0],
        macro_f1=np.quantile(np.concatenate(macro_f1s), ends),
        precision=wilson(correct_counts, predicted_totals, level),
        recall=wilson(correct_counts, class_counts, level),
        f1=2 * jaccard / (1 + jaccard),
    )


def ranks(probabilities: Floats, truth: Labels) -> Labels:
    """Ranks of the true classes by probability, int64 [N], 0 for the most probable class.

    Equally probable classes are ranked by their index.

    Args:
        probabilities: float [N, C].
        truth: int64 [N].
    """
    true_probability = np.take_along_axis(probabilities, truth[:, None], axis=1)
    is_earlier = np.arange(probabilities.shape[1]) < truth[:, None]
    is_higher = (probabilities > true_probability) | (
        (probabilities == true_probability) & is_earlier
    )
    return np.asarray(is_higher.sum(axis=1), np.int64)


class RiskCoverage(NamedTuple):
    """Coverage and accuracy of a classifier that abstains below a threshold.

    Attributes:
        threshold: float64 [T], confidences in descending order.
        coverage: float64 [T], share of the predictions at or above the threshold.
        accuracy: float64 [T], accuracy of these.
    """

    threshold: npt.NDArray[np.float64]
    coverage: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]

    def index_of(self, coverage: float) -> int:
        """The index of the highest threshold with at least this coverage."""
        return int(np.searchsorted(self.coverage, coverage - 1e-9))

    def points(self, coverages: Iterable[float]) -> list[dict[str, float]]:
        """The distinct points at some coverages, as dictionaries of their fields."""
        indices = dict.fromkeys(self.index_of(coverage) for coverage in coverages)
        figures = np.stack(self, axis=1)
        return [dict(zip(self._fields, figures[p].tolist(), strict=True)) for p in indices]


def risk_coverage(correct: Mask, confidence: Floats) -> RiskCoverage:
    """The risk-coverage curve, at every confidence that occurs.

    Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017.

    Args:
        correct: bool [N], whether each prediction is correct; N is at least 1.
        confidence: float [N].
    """
    thresholds, positions, images = np.unique(-confidence, return_inverse=True, return_counts=True)
    kept_counts = np.cumsum(images)
    correct_counts = np.cumsum(np.bincount(positions, weights=correct))
    return RiskCoverage(
        -thresholds.astype(np.float64), kept_counts / len(correct), correct_counts / kept_counts
    )


def mcnemar(correct_a: Mask, correct_b: Mask) -> float:
    """P-value of McNemar's exact test that two classifiers have the same accuracy.

    Only the images that exactly one of them classifies correctly count; under the null hypothesis
    each is the correct one with probability 1/2 (McNemar, "Note on the sampling error of the
    difference between correlated proportions or percentages", 1947).

    Args:
        correct_a: bool [N], whether each prediction of the first is correct.
        correct_b: bool [N], likewise for the second, on the same images.
    """
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    tail = binomial_tail(max(only_a, only_b), only_a + only_b, 0.5)  # half of the p-value
    return float(f"{min(1.0, 2 * tail):.10g}")  # without rounding errors


def binomial_tail(successes: int, trials: int, share: float) -> float:
    """Probability of at least so many successes, if each trial succeeds with probability ``share``.

    A run needs it for its threshold, and SciPy takes 0.14 GB.

    Args:
        successes: number of successes.
        trials: number of trials, at least that of the successes.
        share: above 0 and below 1.
    """
    failures = np.arange(trials - successes + 1)
    # Logarithms of the binomial coefficients, each from the one before.
    steps = np.log((trials + 1 - failures[1:]) / failures[1:])
    logs = np.append(0.0, np.cumsum(steps))
    logs += failures * math.log1p(-share) + (trials - failures) * math.log(share)
    return float(np.exp(logs).sum())
