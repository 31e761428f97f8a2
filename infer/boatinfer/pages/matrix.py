"""A confusion matrix on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Matrix"]

#: Classes that the page shows at most; of more, the most confused ones.
_CLASSES = 40


class Matrix(NamedTuple):
    """A confusion matrix as a page shows it.

    Attributes:
        names: names of the classes shown.
        rows: for each class its counts, and each count's share of the row.
        left_out: number of classes that are not shown.
    """

    names: list[str]
    rows: list[list[tuple[int, float]]]
    left_out: int

    @classmethod
    def from_counts(cls, names: Sequence[str], counts: Sequence[Sequence[int]]) -> Matrix:
        """Selects the classes to show.

        Args:
            names: the C class names.
            counts: the confusion matrix [C, C].
        """
        all_counts = np.array(counts)
        wrong = all_counts - np.diag(all_counts.diagonal())
        order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
        shown = np.sort(order[:_CLASSES])
        totals = np.maximum(1, all_counts.sum(axis=1))
        rows = [
            [(int(all_counts[i, j]), float(all_counts[i, j] / totals[i])) for j in shown]
            for i in shown
        ]
        return cls([names[i] for i in shown], rows, len(names) - len(shown))
