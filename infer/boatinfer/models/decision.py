"""Decision functions of SVMs, in numpy on plain arrays.

The formulas are libsvm's (Chang and Lin, "LIBSVM: A Library for Support Vector Machines", 2011,
sections 2.1 and 7) and scikit-learn's (its documentation of ``SVC.decision_function``, shape
``ovr``); all is computed in float64, as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boatinfer.models.kernel import Kernel

__all__ = ["Doubles", "Linear", "Pairwise", "pairs", "probabilities"]


Doubles = npt.NDArray[np.float64]

#: Numbers that are worked on at a time.
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Linear:
    """One-against-rest: a weight for each class and feature.

    Attributes:
        weights: [K, D].
        offsets: [K].
    """

    weights: Doubles
    offsets: Doubles
    kernel: Kernel = "linear"

    def scores(self, rows: Doubles) -> Doubles:
        """Scores [N, K] of scaled features [N, D]."""
        return np.asarray(rows @ self.weights.T + self.offsets)


@dataclass(frozen=True)
class Pairwise:
    """One-against-one: a decision for each two classes i < j, from support vectors.

    It is for i where the sum over the support vectors v of ``a k(x, v)``, plus the intercept, is
    not negative. Those of a class are together; row j - 1 of the coefficients is theirs against a
    later class j, row i against an earlier class i.

    Attributes:
        vectors: [S, D], scaled features.
        counts: int64 [K], support vectors of each class.
        coefficients: [K - 1, S].
        intercepts: [K (K - 1) / 2], in the order of `pairs`.
        gamma: of the RBF kernel exp(-gamma |x - v|^2); None for the linear one, x v.
    """

    vectors: Doubles
    counts: npt.NDArray[np.int64]
    coefficients: Doubles
    intercepts: Doubles
    gamma: float | None

    @property
    def kernel(self) -> Kernel:
        """Its name."""
        return "linear" if self.gamma is None else "rbf"

    def scores(self, rows: Doubles) -> Doubles:
        """Scores [N, K] of scaled features [N, D]: the votes, and the decisions to part equals.

        The sum s of a class's decisions is added as ``s / (3 (|s| + 1))``. Of two classes the
        scores are the decision and its negative.
        """
        found = [self._scores(block) for block in self._blocks(rows)]
        return np.concatenate(found)

    def _blocks(self, rows: Doubles) -> Iterator[Doubles]:
        size = max(1, _BLOCK // (len(self.vectors) + len(self.counts) ** 2))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _scores(self, rows: Doubles) -> Doubles:
        firsts, seconds = pairs(len(self.counts))
        decisions = self._decisions(rows)
        margins = np.zeros((len(rows), len(self.counts), len(self.counts)))
        margins[:, firsts, seconds], margins[:, seconds, firsts] = decisions, -decisions
        total = margins.sum(axis=2)
        if len(self.counts) == 2:
            return np.asarray(total)
        wins = margins > 0
        wins[:, firsts, seconds] = decisions >= 0
        return np.asarray(wins.sum(axis=2) + total / (3 * (np.abs(total) + 1)))

    def _decisions(self, rows: Doubles) -> Doubles:
        """The decisions [N, K (K - 1) / 2]; positive is for the first of the two."""
        kernel = self._kernel(rows)
        ends = np.cumsum(self.counts)
        sums = np.stack(
            [
                kernel[:, start:end] @ self.coefficients[:, start:end].T
                for start, end in zip(ends - self.counts, ends, strict=True)
            ],
            axis=1,
        )
        firsts, seconds = pairs(len(self.counts))
        both = sums[:, firsts, seconds - 1] + sums[:, seconds, firsts]
        return np.asarray(both + self.intercepts)

    def _kernel(self, rows: Doubles) -> Doubles:
        """k(x, v) [N, S]."""
        products = rows @ self.vectors.T
        if self.gamma is None:
            return np.asarray(products)
        squares = (rows**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1)
        return np.asarray(np.exp(-self.gamma * np.maximum(squares - 2 * products, 0)))


def pairs(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The first and the second class of each two, [K (K - 1) / 2] each."""
    firsts, seconds = np.triu_indices(count, 1)
    return firsts, seconds


def probabilities(scores: Doubles, sigmoids: Doubles) -> Doubles:
    """Probabilities [N, K] of scores [N, K].

    That of a score s is 1 / (1 + exp(a s + b)), over the sum of all classes' (Platt,
    "Probabilistic outputs for support vector machines", 1999); all are equal where that sum is 0,
    as in scikit-learn.

    Args:
        scores: of a decision function.
        sigmoids: [2, K], slope a and offset b of each class.
    """
    slopes, offsets = sigmoids
    single = 1 / (1 + np.exp(np.minimum(slopes * scores + offsets, 700)))  # exp(710) overflows
    total = single.sum(axis=1, keepdims=True)
    equal = np.full_like(single, 1 / single.shape[1])
    return np.asarray(np.divide(single, total, out=equal, where=total > 0))
