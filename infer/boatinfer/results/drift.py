"""Whether a night is unlike the others: its classes and its confidences beside theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "Drift", "Mix", "drift", "jensen_shannon", "mean_shares"]

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

#: Spans of equal width, from 0 to 1, that confidences are counted in.
BINS = 20
#: Nights of chance that a night is measured by.
_DRAWN = 1000
#: A smaller divergence is not worth a word, however sure it is.
_LEAST = 0.02
#: With so many nights their own differences are the measure too.
_NIGHTS = 3


class Mix(msgspec.Struct, kw_only=True):
    """What a run classified anew.

    Attributes:
        images: how many.
        labels: how many of each class.
        confidences: how many in each of `BINS` spans of the confidence, from 0 to 1.
        mean_confidence: null where there are no images.
    """

    images: int = 0
    labels: dict[str, int] = {}
    confidences: list[int] = []
    mean_confidence: float | None = None

    @classmethod
    def of(cls, some: Iterable[tuple[Mapping[str, int], npt.NDArray[np.floating]]]) -> Mix:
        """Sums up images: counts of their classes and confidences, float [N], of some at a time."""
        labels: Counter[str] = Counter()
        counts, total = np.zeros(BINS, np.int64), 0.0
        for classes, confidences in some:
            labels.update(classes)
            counts += np.histogram(confidences, bins=BINS, range=(0, 1))[0]
            total += float(confidences.sum(dtype=np.float64))
        images = int(counts.sum())
        return cls(
            images=images,
            labels=dict(sorted(labels.items())),
            confidences=counts.tolist(),
            mean_confidence=round(total / images, 6) if images else None,
        )


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
