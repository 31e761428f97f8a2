"""Drift: compares the predicted classes and confidences of a run with those of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Drift", "drift", "jensen_shannon", "mean_shares"]

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

#: Number of random samples for the divergence expected by chance.
_DRAWN = 1000
#: A smaller divergence is never reported, even if significant.
_MIN_DIVERGENCE = 0.02
#: With at least this many earlier runs, their own differences count too.
_EARLIER_RUNS = 3


class Drift(NamedTuple):
    """The difference between a run and the mean of earlier runs.

    Attributes:
        divergence: Jensen-Shannon divergence, see `jensen_shannon`.
        chance: the largest divergence of 1,000 random samples from the mean shares.
        earlier: the largest divergence of an earlier run from the other earlier runs; None if
            there are too few.
    """

    divergence: float
    chance: float
    earlier: float | None

    @property
    def unusual(self) -> bool:
        """Whether it exceeds chance, the differences of earlier runs, and `_MIN_DIVERGENCE`."""
        return self.divergence > max(self.chance, self.earlier or 0.0, _MIN_DIVERGENCE)


def jensen_shannon(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Jensen-Shannon divergence in bits: 0 for equal shares, 1 for disjoint ones.

    Lin, "Divergence measures based on the Shannon entropy", 1991.

    Args:
        first: counts or shares, [..., K], each with a positive sum.
        second: likewise.
    """
    p, q = (_shares(np.asarray(counts, np.float64)) for counts in (first, second))
    return np.maximum(0.0, _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2)


def mean_shares(runs: Sequence[Counts]) -> Shares:
    """Mean shares [K] of runs, with equal weights."""
    return np.asarray(_shares(np.stack(runs).astype(np.float64)).mean(axis=0))


def drift(counts: Counts, earlier: Sequence[Counts]) -> Drift:
    """Compares a run with earlier ones.

    Args:
        counts: int64 [K], images in each of K bins; not all zero.
        earlier: such counts of one or more earlier runs.
    """
    usual = mean_shares(earlier)
    largest = None
    if len(earlier) >= _EARLIER_RUNS:
        largest = max(
            float(jensen_shannon(run, mean_shares([*earlier[:i], *earlier[i + 1 :]])))
            for i, run in enumerate(earlier)
        )
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(int(counts.sum()), usual, _DRAWN)
    drawn_earlier = generator.multinomial(int(sum(run.sum() for run in earlier)), usual, _DRAWN)
    chance = float(jensen_shannon(drawn, drawn_earlier).max())
    return Drift(float(jensen_shannon(counts, usual)), chance, largest)


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _entropy(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=-1))
