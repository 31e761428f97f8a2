from __future__ import annotations

import csv
from pathlib import Path

import pytest

from boattrain.history import Epoch, best_of, write_history


@pytest.mark.parametrize(
    ("valid", "best"),
    [
        ([(0.5, 0.6), (0.3, 0.8), (0.4, 0.7)], 2),
        ([(0.5, 0.8), (0.3, 0.8), (0.4, 0.8)], 2),
        ([(0.3, 0.8), (0.3, 0.8)], 1),
        ([(0.1, 0.5), (0.9, 0.6)], 2),
    ],
    ids=["highest accuracy", "of equals the lowest loss", "of twins the first", "loss is second"],
)
def test_best_epoch(valid: list[tuple[float, float]], best: int) -> None:
    history = [Epoch(number, 1.0, 0.1, *figures) for number, figures in enumerate(valid, 1)]

    assert best_of(history).epoch == best


def test_history_is_a_csv_table(tmp_path: Path) -> None:
    history = [Epoch(1, 1.5, 0.25, 1.25, 0.5), Epoch(2, 1.0, 0.5, 1.0, 0.75)]

    write_history(history, tmp_path / "history.csv")

    with (tmp_path / "history.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"],
            ["1", "1.5", "0.25", "1.25", "0.5"],
            ["2", "1.0", "0.5", "1.0", "0.75"],
        ]
