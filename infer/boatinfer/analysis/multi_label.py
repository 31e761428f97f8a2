"""The evaluation of a multi-label model: average precision and F1 of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from boatinfer.text import decimal, printable, table

__all__ = ["LabelScores", "MultiLabelEvaluation", "average_precision", "label_scores"]

Bools = npt.NDArray[np.bool_]
_NAME_WIDTH = 30


@dataclass(frozen=True)
class LabelScores:
    """Figures of one label; NaN where they are undefined.

    Attributes:
        average_precision: area under precision over recall; undefined without an image.
        precision: at the threshold of the model.
        recall: likewise.
        f1: likewise.
        images: number of images that have the label.
        predicted: number of images that are given it.
    """

    average_precision: float
    precision: float
    recall: float
    f1: float
    images: int
    predicted: int


@dataclass(frozen=True)
class MultiLabelEvaluation:
    """Predicted and true labels of N images; at least one image.

    Attributes:
        classes: the C class names.
        truth: bool [N, C].
        predicted: bool [N, C].
        probabilities: float32 [N, C].
    """

    classes: Sequence[str]
    truth: Bools
    predicted: Bools
    probabilities: npt.NDArray[np.float32]

    @cached_property
    def scores(self) -> list[LabelScores]:
        """Figures of each class."""
        columns = zip(self.truth.T, self.predicted.T, self.probabilities.T, strict=True)
        return [label_scores(*column) for column in columns]

    @property
    def mean_average_precision(self) -> float:
        """Mean over the classes that have an image; NaN if none has."""
        return _mean([score.average_precision for score in self.scores])

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that have an image or are predicted."""
        return _mean([score.f1 for score in self.scores])

    @property
    def exact(self) -> float:
        """Share of the images whose labels are all right."""
        return float((self.truth == self.predicted).all(axis=1).mean())

    def document(self) -> dict[str, Any]:
        """All figures, for JSON; undefined values are null."""
        return {
            "images": len(self.truth),
            "mean_average_precision": _defined(self.mean_average_precision),
            "macro_f1": _defined(self.macro_f1),
            "exact": self.exact,
            "classes": {
                name: {key: _defined(value) for key, value in vars(score).items()}
                for name, score in zip(self.classes, self.scores, strict=True)
            },
        }

    def text(self) -> str:
        """All figures, for a terminal."""
        heading = ["class", "AP", "precision", "recall", "F1", "images", "predicted"]
        rows = [
            [
                printable(name)[:_NAME_WIDTH],
                *map(_shown, (s.average_precision, s.precision, s.recall, s.f1)),
                f"{s.images:,}",
                f"{s.predicted:,}",
            ]
            for name, s in zip(self.classes, self.scores, strict=True)
        ]
        headline = (
            f"mAP {_shown(self.mean_average_precision)}, macro-F1 {_shown(self.macro_f1)}, all "
            f"labels right {_shown(self.exact)}"
        )
        return "\n".join([headline, "", *table([heading, *rows])])


def label_scores(truth: Bools, predicted: Bools, scores: npt.NDArray[Any]) -> LabelScores:
    """Computes the figures of one label from arrays [N]."""
    right = int((truth & predicted).sum())
    images, given = int(truth.sum()), int(predicted.sum())
    return LabelScores(
        average_precision(truth, scores),
        right / given if given else np.nan,
        right / images if images else np.nan,
        2 * right / (images + given) if images + given else np.nan,
        images,
        given,
    )


def average_precision(truth: Bools, scores: npt.NDArray[Any]) -> float:
    """Mean precision at the threshold of each image that has the label, as in scikit-learn.

    Args:
        truth: bool [N].
        scores: float [N]; images of the same score count together.
    """
    if not truth.any():
        return np.nan
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(truth[order])
    last = np.append(np.diff(scores[order]) != 0, True)  # of each group of equal scores
    precision = (right / np.arange(1, len(right) + 1))[last]
    steps = np.diff(right[last], prepend=0)
    return float((precision * steps).sum() / right[-1])


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else np.nan


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value


def _shown(value: float) -> str:
    return "-" if np.isnan(value) else decimal(value)
