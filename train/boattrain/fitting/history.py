"""Metrics of each epoch of a training, and the choice of the best epoch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["EpochMetrics", "best_epoch", "write_history"]


class EpochMetrics(NamedTuple):
    """Metrics of one epoch.

    Attributes:
        epoch: number of the epoch, from 1.
        stage: name of the training stage, such as ``head`` or ``whole``.
        learning_rate: learning rate at the end of the epoch.
        loss: mean training loss during the epoch, with dropout and augmentation.
        accuracy: training accuracy during the epoch, likewise.
        val_loss: mean cross-entropy on the validation images at the end of the epoch.
        val_accuracy: validation accuracy, likewise.
        val_macro_f1: macro-F1 on the validation images, likewise.
    """

    epoch: int
    stage: str
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float


def best_epoch(history: Sequence[EpochMetrics], metric: str = "accuracy") -> EpochMetrics:
    """Finds the best epoch; of equal ones that with the lowest validation loss, then the first.

    Args:
        history: at least one epoch.
        metric: validation metric: ``accuracy``, ``macro-f1`` or ``loss``; or ``last`` for the last
            epoch.
    """
    if metric == "last":
        return history[-1]

    def score(epoch: EpochMetrics) -> tuple[float, float]:
        values = {"accuracy": epoch.val_accuracy, "macro-f1": epoch.val_macro_f1, "loss": 0.0}
        return values[metric], -epoch.val_loss

    return max(history, key=score)


def write_history(history: Sequence[EpochMetrics], path: Path) -> None:
    """Writes a CSV file with a header and one row per epoch."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([EpochMetrics._fields, *history])
