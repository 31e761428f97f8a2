"""A confusion matrix on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Matrix"]

#: Classes that the page shows at most; of more, the most confused ones.
_CLASSES = 40


class Cell(NamedTuple):
    """A cell of a confusion matrix.

    Attributes:
        images: number of images.
        share: of the images of its row.
        correct: whether the classes of row and column are the same.
        anchor: id of the pictures of these images on the page; None if there are none.
    """

    images: int
    share: float
    correct: bool
    anchor: str | None


class Matrix(NamedTuple):
    """A confusion matrix as a page shows it.

    Attributes:
        names: names of the classes shown.
        rows: for each class its cells.
        left_out: number of classes that are not shown.
    """

    names: list[str]
    rows: list[list[Cell]]
    left_out: int

    @classmethod
    def from_counts(
        cls,
        names: Sequence[str],
        counts: Sequence[Sequence[int]],
        anchors: Mapping[tuple[str, str], str],
    ) -> Matrix:
        """Selects the classes to show.

        Args:
            names: the C class names.
            counts: the confusion matrix [C, C].
            anchors: ids of the pictures of pairs of classes, by the classes of row and column.
        """
        all_counts = np.array(counts)
        wrong = all_counts - np.diag(all_counts.diagonal())
        order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
        shown = np.sort(order[:_CLASSES])
        totals = np.maximum(1, all_counts.sum(axis=1))
        rows = [
            [
                Cell(
                    int(all_counts[i, j]),
                    float(all_counts[i, j] / totals[i]),
                    bool(i == j),
                    anchors.get((names[i], names[j])),
                )
                for j in shown
            ]
            for i in shown
        ]
        return cls([names[i] for i in shown], rows, len(names) - len(shown))
