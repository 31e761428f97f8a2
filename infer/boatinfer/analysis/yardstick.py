"""How far a run is from earlier ones, measured by how much these differ from each other.

A run is a point: its shares or features in coordinates whose sampling variance is known (see
`boatinfer.analysis.coordinates`). What is ordinary is estimated from earlier runs, and a run's
squared distance from their mean is compared with an F distribution.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["MIN_RUNS", "Points", "Verdict", "critical_value", "judge", "survival"]

Floats = npt.NDArray[np.float64]

#: Earlier runs that are needed to know what is ordinary.
MIN_RUNS = 5
#: So many earlier unusual runs that agree with a run make it ordinary.
_AGREEING = 3
#: Runs agree if they differ by more than this only with this probability by chance.
_AGREEMENT = 0.01
#: An earlier run is left out if one as far from the others is expected this often by chance.
_OUTLIER = 0.01
#: At most this share of the earlier runs is left out.
_MAX_OUTLIERS = 0.25


class Points(NamedTuple):
    """Runs as points.

    Attributes:
        places: float64 [N, K].
        sizes: number of images of each, float64 [N].
        free: number of free coordinates, along each of which one image has a variance of 1.
    """

    places: Floats
    sizes: Floats
    free: int

    def select(self, mask: npt.NDArray[np.bool_]) -> Points:
        """Some of the points."""
        return Points(self.places[mask], self.sizes[mask], self.free)


class Verdict(NamedTuple):
    """How far a run is from the ordinary.

    Attributes:
        unusual: whether it is unusual.
        value: its squared distance from the mean of the ordinary runs, divided by the expected
            one: an F statistic, 1 on average.
        limit: the value that an ordinary run exceeds with the probability asked for.
        ordinary: which of the earlier runs were taken as ordinary, bool [N].
    """

    unusual: bool
    value: float
    limit: float
    ordinary: npt.NDArray[np.bool_]


class _Spread:
    """Mean and scatter of ordinary runs.

    The squared distance of a further run, over its expectation, follows roughly F(n1, n2). The
    degrees of freedom are those of Box, "Some theorems on quadratic forms applied in the study of
    analysis of variance problems", 1954: n1 = tr(S)^2 / tr(S^2) for the covariance S of the runs,
    so they are few where few directions vary, and n2 = n1 (M - 1).
    """

    def __init__(self, points: Points) -> None:
        places, self._free = points.places, points.free
        self._mean = places.mean(axis=0)
        self._runs = len(places)
        centred = places - self._mean
        gram = centred @ centred.T / (self._runs - 1)  # the nonzero eigenvalues of S
        self._scatter = float(np.trace(gram))
        squares = float((gram * gram).sum())
        self._inverse_size = float((1 / points.sizes).mean())
        self.degrees = _degrees(self._scatter, squares, self._runs - 1, self._free)

    def _variance(self, size: float) -> float:
        """Expected squared deviation of a run of this size from the expectation.

        A smaller run varies more than the earlier ones by its sampling noise; and none varies less
        than that.
        """
        more_noise = max(0.0, 1 / size - self._inverse_size) * self._free
        return max(self._scatter + more_noise, self._free / size)

    def distance(self, place: Floats, size: float) -> float:
        """Squared distance of a run from the mean, over its expectation."""
        expected = self._variance(size) * (1 + 1 / self._runs)
        return float(((place - self._mean) ** 2).sum()) / expected

    def separation(self, first: tuple[Floats, float], second: tuple[Floats, float]) -> float:
        """Squared distance of two runs (place and size) from each other, over its expectation."""
        expected = self._variance(first[1]) + self._variance(second[1])
        return float(((first[0] - second[0]) ** 2).sum()) / expected

    def probability(self, value: float) -> float:
        """The probability that an ordinary run exceeds a value."""
        return survival(value, self.degrees, self.degrees * (self._runs - 1))

    def limit(self, probability: float) -> float:
        """The value that an ordinary run exceeds with a probability."""
        return critical_value(probability, self.degrees, self.degrees * (self._runs - 1))


def _degrees(trace: float, squares: float, runs: int, free: int) -> float:
    """Estimates tr(S)^2 / tr(S^2) of a true covariance S from a sample covariance.

    Of the sample it is too small on average, and corrected (Bai and Saranadasa, "Effect of high
    dimension: by an example of a two sample problem", 1996) it varies so much that too many
    ordinary runs are far out. Their geometric mean does neither (benchmarks/unusual_nights.py).

    Args:
        trace: of the sample covariance.
        squares: the trace of its square.
        runs: degrees of freedom of the sample covariance, at least 2.
        free: number of free coordinates.
    """
    if (
        not squares
    ):  # all runs are equal, so only sampling noise is left, which is in all directions
        return float(free)
    true_squares = runs**2 / ((runs + 2) * (runs - 1)) * (squares - trace**2 / runs)
    true_trace_squared = trace**2 - 2 * true_squares / runs
    corrected = float(free)
    if true_squares * free > true_trace_squared:
        corrected = true_trace_squared / true_squares
    plain = trace**2 / squares
    return max(1.0, math.sqrt(plain * max(plain, corrected)))


def judge(
    place: Floats,
    size: float,
    earlier: Points,
    unusual: Points,
    *,
    ages: npt.NDArray[np.int64],
    false_alarms: float,
) -> Verdict | None:
    """Compares a run with earlier ones.

    Args:
        place: the run, float64 [K].
        size: its number of images.
        earlier: earlier runs that were not unusual; those far from the others are left out.
        unusual: earlier runs that were: a run like `_AGREEING` of these is not unusual.
        ages: of the earlier runs, then of the unusual ones: 0 for the latest of all, and so on.
        false_alarms: the probability that an ordinary run is called unusual.

    Returns:
        The verdict; None with fewer than `MIN_RUNS` earlier runs, or nothing to compare.
    """
    if len(earlier.places) < MIN_RUNS or not earlier.free:
        return None
    ordinary = _of_one_level(earlier, unusual, ages)
    ordinary[ordinary] = _ordinary(earlier.select(ordinary))
    spread = _Spread(earlier.select(ordinary))
    value = spread.distance(place, size)
    limit = spread.limit(false_alarms)
    found = value > limit
    if found:
        left_out = earlier.select(~ordinary)
        others = [*zip(left_out.places, left_out.sizes, strict=True)]
        others += [*zip(unusual.places, unusual.sizes, strict=True)]
        agreeing = sum(
            spread.probability(spread.separation((place, size), other)) > _AGREEMENT
            for other in others
        )
        found = agreeing < _AGREEING
    return Verdict(found, value, limit, ordinary)


def _of_one_level(
    earlier: Points, unusual: Points, ages: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Leaves out the runs on the other side of a lasting change: bool [N].

    `_AGREEING` unusual runs make others ordinary. Those from before and those like these would
    otherwise be one wide measure; the larger group is kept.
    """
    runs = len(earlier.places)
    latest = np.argsort(ages[runs:])[:_AGREEING]
    before = ages[:runs] > ages[runs:][latest].max(initial=-1)
    if len(latest) < _AGREEING or not before.any():
        return np.ones(runs, np.bool_)
    old, new = (
        ((earlier.places - np.median(places, axis=0)) ** 2).sum(axis=1)
        for places in (earlier.places[before], unusual.places[latest])
    )
    like_old = before | (old <= new)
    kept = like_old if 2 * like_old.sum() > runs else ~like_old
    return kept if kept.sum() >= MIN_RUNS else np.ones(runs, np.bool_)


def _ordinary(earlier: Points) -> npt.NDArray[np.bool_]:
    """Leaves out the runs far from all others, one by one: bool [N]."""
    count = len(earlier.places)
    kept = np.ones(count, np.bool_)
    for _ in range(int(min(count * _MAX_OUTLIERS, count - MIN_RUNS))):
        runs = np.flatnonzero(kept).tolist()
        probabilities = [_probability_without(earlier, kept, run) for run in runs]
        least = int(np.argmin(probabilities))
        if probabilities[least] > _OUTLIER / len(runs):
            break
        kept[runs[least]] = False
    return kept


def _probability_without(earlier: Points, kept: npt.NDArray[np.bool_], run: int) -> float:
    """The probability that a run is as far from the others as one of them is."""
    others = kept.copy()
    others[run] = False
    spread = _Spread(earlier.select(others))
    return spread.probability(spread.distance(earlier.places[run], earlier.sizes[run]))


def survival(value: float, first: float, second: float) -> float:
    """The probability that a variable of the F distribution exceeds a value.

    Args:
        value: the value.
        first: degrees of freedom of the numerator.
        second: degrees of freedom of the denominator.
    """
    x = second / (second + first * value)
    return _incomplete_beta(second / 2, first / 2, x)


def critical_value(probability: float, first: float, second: float) -> float:
    """The value that a variable of the F distribution exceeds with a probability."""
    low, high = 0.0, 1.0
    while survival(high, first, second) > probability:
        low, high = high, high * 2
    for _ in range(40):
        middle = (low + high) / 2
        if survival(middle, first, second) > probability:
            low = middle
        else:
            high = middle
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b).

    By its continued fraction, in the way of Lentz: Press et al., "Numerical Recipes", 3rd edition,
    2007, section 6.4. (SciPy has it, but a run does without SciPy.)
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_front = a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b)
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d or tiny)
    fraction = d
    for m in range(1, 1000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + numerator * d) or tiny)
            c = (1 + numerator / c) or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return math.exp(log_front) * fraction / a


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
