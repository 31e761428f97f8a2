"""How good a trained network is on valid: figures, text and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from boatinfer.metrics import accuracy, bootstrap, calibration_error, macro_f1
from boattrain.losses import cross_entropy

__all__ = ["Evaluation"]


@dataclass(frozen=True)
class Evaluation:
    """What a network says of images whose class is known.

    Attributes:
        classes: names, C of them.
        truth: int64 [N].
        probabilities: float32 [N, C].
    """

    classes: list[str]
    truth: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The likeliest classes, int64 [N]."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def metrics(self) -> dict[str, float]:
        """The figures of the card: accuracy, macro-F1, calibration error, cross-entropy."""
        return {
            "accuracy": accuracy(self.truth, self.predicted),
            "macro_f1": macro_f1(self.truth, self.predicted),
            "calibration_error": calibration_error(self.truth, self.probabilities),
            "loss": cross_entropy(self.truth, self.probabilities),
        }

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Counts of images, int64 [C, C]: rows are true classes, columns predicted ones."""
        count = len(self.classes)
        both = self.truth * count + self.predicted
        return np.bincount(both, minlength=count * count).reshape(count, count)

    def text(self) -> str:
        """Both distributions and the report per class, for a terminal."""
        from sklearn.metrics import classification_report

        report = classification_report(
            self.truth,
            self.predicted,
            labels=range(len(self.classes)),
            target_names=self.classes,
            zero_division=0,
        )
        return "\n".join(
            [
                "Prediction distribution (valid)",
                *_lines(self.predicted, self.classes),
                "",
                "Ground-truth distribution (valid)",
                *_lines(self.truth, self.classes),
                "",
                report,
            ]
        )

    def document(self) -> dict[str, Any]:
        """The same as JSON: figures with 95 % intervals, per class, and the confusion matrix."""
        from sklearn.metrics import precision_recall_fscore_support

        scored = precision_recall_fscore_support(
            self.truth, self.predicted, labels=range(len(self.classes)), zero_division=0
        )
        names = ("precision", "recall", "f1", "images", "predicted")
        table = zip(*scored, np.bincount(self.predicted, minlength=len(self.classes)), strict=True)
        return {
            "images": len(self.truth),
            **self.metrics,
            "accuracy_interval": bootstrap(self.truth, self.predicted, accuracy),
            "macro_f1_interval": bootstrap(self.truth, self.predicted, macro_f1),
            "classes": {
                name: {key: value.item() for key, value in zip(names, row, strict=True)}
                for name, row in zip(self.classes, table, strict=True)
            },
            "confusion": self.confusion.tolist(),
        }


def _lines(labels: npt.NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    width = max(map(len, classes))
    counts = np.bincount(labels, minlength=len(classes))
    return [f"  {name:<{width}}  {count:6}" for name, count in zip(classes, counts, strict=True)]
