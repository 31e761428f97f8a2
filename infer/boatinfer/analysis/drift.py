"""Divergence of the shares of classes or confidences from each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Shares", "jensen_shannon", "mean_shares"]

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


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


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _entropy(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=-1))
