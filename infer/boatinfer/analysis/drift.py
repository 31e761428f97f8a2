"""Whether a night is unlike the others: its classes and its confidences beside theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Drift", "drift", "jensen_shannon", "mean_shares"]

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

#: Nights of chance that a night is measured by.
_DRAWN = 1000
#: A smaller divergence is not worth a word, however sure it is.
_LEAST = 0.02
#: With so many nights their own differences are the measure too.
_NIGHTS = 3


class Drift(NamedTuple):
    """How far a night is from what is usual.

    Attributes:
        divergence: Jensen-Shannon, see `jensen_shannon`.
        chance: what one of 1,000 nights that are drawn from the usual shares reaches.
        others: the largest divergence of an earlier night from the rest of them; None
            where there are too few.
    """

    divergence: float
    chance: float
    others: float | None

    @property
    def unusual(self) -> bool:
        """Whether it is more than chance, more than earlier nights differ, and worth a word."""
        return self.divergence > max(self.chance, self.others or 0.0, _LEAST)


def jensen_shannon(one: npt.ArrayLike, other: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Jensen-Shannon divergence in bits: 0 for equal shares, 1 for such that exclude each other.

    Lin, "Divergence measures based on the Shannon entropy", 1991.

    Args:
        one: counts or shares, [..., K], each with a positive sum.
        other: likewise.
    """
    p, q = (_shares(np.asarray(of, np.float64)) for of in (one, other))
    return np.maximum(0.0, _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2)


def mean_shares(nights: Sequence[Counts]) -> Shares:
    """The usual: mean shares [K] of nights, each counting the same."""
    return np.asarray(_shares(np.stack(nights).astype(np.float64)).mean(axis=0))


def drift(now: Counts, nights: Sequence[Counts]) -> Drift:
    """Compares a night with earlier ones.

    Args:
        now: int64 [K], images of each kind; not all zero.
        nights: one or more such counts.
    """
    usual = mean_shares(nights)
    others = None
    if len(nights) >= _NIGHTS:
        rest = [mean_shares([*nights[:i], *nights[i + 1 :]]) for i in range(len(nights))]
        others = max(
            float(jensen_shannon(night, of)) for night, of in zip(nights, rest, strict=True)
        )
    draw = np.random.default_rng(0)
    tonight = draw.multinomial(int(now.sum()), usual, _DRAWN)
    before = draw.multinomial(int(sum(night.sum() for night in nights)), usual, _DRAWN)
    chance = float(jensen_shannon(tonight, before).max())
    return Drift(float(jensen_shannon(now, usual)), chance, others)


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _entropy(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=-1))
