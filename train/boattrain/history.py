"""What each epoch of a training gave, and which epoch is the best."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Epoch", "best_of", "write_history"]


class Epoch(NamedTuple):
    """One epoch's figures, by the names that Keras gives them.

    Attributes:
        epoch: its number, from 1.
        loss: mean cross-entropy on train, with dropout, while the weights move.
        accuracy: fraction of train classified correctly, likewise.
        val_loss: mean cross-entropy on valid at the end of the epoch.
        val_accuracy: fraction of valid classified correctly, likewise.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


def best_of(history: Sequence[Epoch]) -> Epoch:
    """Finds the highest valid accuracy; of equals the lowest valid loss, then the first."""
    return max(history, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss))


def write_history(history: Sequence[Epoch], path: Path) -> None:
    """Writes a CSV file with a header and one row an epoch."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([Epoch._fields, *history])
