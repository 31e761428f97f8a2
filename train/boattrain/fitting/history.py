"""What each epoch of a training gave, and which epoch is the best."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Epoch", "best_of", "write_history"]


class Epoch(NamedTuple):
    """One epoch's figures.

    Attributes:
        epoch: its number, from 1.
        stage: what was trained in it: ``head`` or ``whole``.
        learning_rate: at its end.
        loss: mean loss on train, with dropout and augmentation, while the weights move.
        accuracy: fraction of train classified correctly, likewise.
        val_loss: mean cross-entropy on valid at the end of the epoch.
        val_accuracy: fraction of valid classified correctly, likewise.
        val_macro_f1: mean F1 over the classes on valid, likewise.
    """

    epoch: int
    stage: str
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float


def best_of(history: Sequence[Epoch], by: str = "accuracy") -> Epoch:
    """Finds the best epoch on valid; of equals that with the lowest loss, then the first.

    Args:
        history: at least one epoch.
        by: ``accuracy``, ``macro-f1`` or ``loss``; ``last`` takes the last whatever it gave.
    """
    if by == "last":
        return history[-1]

    def goodness(epoch: Epoch) -> tuple[float, float]:
        first = {"accuracy": epoch.val_accuracy, "macro-f1": epoch.val_macro_f1, "loss": 0.0}[by]
        return first, -epoch.val_loss

    return max(history, key=goodness)


def write_history(history: Sequence[Epoch], path: Path) -> None:
    """Writes a CSV file with a header and one row an epoch."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([Epoch._fields, *history])
