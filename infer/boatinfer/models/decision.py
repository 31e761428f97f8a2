"""Decision functions of SVMs in numpy.

The formulas are libsvm's (Chang and Lin, "LIBSVM: A Library for Support Vector Machines", 2011,
sections 2.1 and 7) and scikit-learn's (its documentation of ``SVC.decision_function``, shape
``ovr``); everything is computed in float64, as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boatinfer.models.kernel import Kernel

__all__ = ["Doubles", "Linear", "Pairwise", "class_pairs", "probabilities"]


Doubles = npt.NDArray[np.float64]

#: Number of array elements that are processed at a time.
_BLOCK_SIZE = 1 << 22


@dataclass(frozen=True)
class Linear:
    """One-against-rest: a weight vector for each class.

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
    """One-against-one: a decision for each pair of classes i < j, from support vectors.

    The decision is for i if the sum of ``a k(x, v)`` over the support vectors v, plus the
    intercept, is not negative. The support vectors are grouped by class; row j - 1 of the
    coefficients belongs to the decision against a later class j, row i to that against an earlier
    class i.

    Attributes:
        vectors: [S, D], scaled features.
        counts: int64 [K], numbers of support vectors of the classes.
        coefficients: [K - 1, S].
        intercepts: [K (K - 1) / 2], in the order of `class_pairs`.
        gamma: of the RBF kernel exp(-gamma |x - v|^2); None for the linear one, x v.
    """

    vectors: Doubles
    counts: npt.NDArray[np.int64]
    coefficients: Doubles
    intercepts: Doubles
    gamma: float | None

    @property
    def kernel(self) -> Kernel:
        """The name of the kernel."""
        return "linear" if self.gamma is None else "rbf"

    def scores(self, rows: Doubles) -> Doubles:
        """Scores [N, K] of scaled features [N, D]: votes, with the decisions as tie-breakers.

        The sum s of a class's decisions is added as ``s / (3 (|s| + 1))``. With two classes the
        scores are the decision and its negative.
        """
        return np.concatenate([self._scores(block) for block in self._blocks(rows)])

    def _blocks(self, rows: Doubles) -> Iterator[Doubles]:
        size = max(1, _BLOCK_SIZE // (len(self.vectors) + len(self.counts) ** 2))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _scores(self, rows: Doubles) -> Doubles:
        firsts, seconds = class_pairs(len(self.counts))
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
        """The decisions [N, K (K - 1) / 2]; positive is for the first class of the pair."""
        kernel = self._kernel(rows)
        ends = np.cumsum(self.counts)
        sums = np.stack(
            [
                kernel[:, start:end] @ self.coefficients[:, start:end].T
                for start, end in zip(ends - self.counts, ends, strict=True)
            ],
            axis=1,
        )
        firsts, seconds = class_pairs(len(self.counts))
        pair_sums = sums[:, firsts, seconds - 1] + sums[:, seconds, firsts]
        return np.asarray(pair_sums + self.intercepts)

    def _kernel(self, rows: Doubles) -> Doubles:
        """Kernel matrix k(x, v) [N, S]."""
        products = rows @ self.vectors.T
        if self.gamma is None:
            return np.asarray(products)
        squares = (rows**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1)
        return np.asarray(np.exp(-self.gamma * np.maximum(squares - 2 * products, 0)))


def class_pairs(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The first and the second class of each pair, [K (K - 1) / 2] each."""
    firsts, seconds = np.triu_indices(count, 1)
    return firsts, seconds


def probabilities(scores: Doubles, sigmoids: Doubles) -> Doubles:
    """Probabilities [N, K] of scores [N, K].

    The probability of a score s is 1 / (1 + exp(a s + b)), normalised over the classes (Platt,
    "Probabilistic outputs for support vector machines", 1999); all are equal if the sum is 0, as in
    scikit-learn.

    Args:
        scores: of a decision function.
        sigmoids: [2, K], slope a and offset b of each class.
    """
    slopes, offsets = sigmoids
    unnormalised = 1 / (
        1 + np.exp(np.minimum(slopes * scores + offsets, 700))
    )  # exp(710) overflows
    total = unnormalised.sum(axis=1, keepdims=True)
    equal = np.full_like(unnormalised, 1 / unnormalised.shape[1])
    return np.asarray(np.divide(unnormalised, total, out=equal, where=total > 0))
