from __future__ import annotations

import csv
from pathlib import Path

import pytest

from boattrain.fitting.history import EpochMetrics, best_epoch, write_history

Figures = tuple[float, float, float]


@pytest.mark.parametrize(
    ("valid", "by", "best"),
    [
        ([(0.5, 0.6, 0), (0.3, 0.8, 0), (0.4, 0.7, 0)], "accuracy", 2),
        ([(0.5, 0.8, 0), (0.3, 0.8, 0), (0.4, 0.8, 0)], "accuracy", 2),
        ([(0.3, 0.8, 0), (0.3, 0.8, 0)], "accuracy", 1),
        ([(0.1, 0.5, 0), (0.9, 0.6, 0)], "accuracy", 2),
        ([(0.1, 0.5, 0.6), (0.9, 0.6, 0.5)], "macro-f1", 1),
        ([(0.3, 0.5, 0.6), (0.1, 0.4, 0.5)], "loss", 2),
    ],
    ids=[
        "highest accuracy",
        "of equals the lowest loss",
        "of twins the first",
        "loss is second",
        "highest macro-F1",
        "lowest loss",
    ],
)
def test_best_epoch(valid: list[Figures], by: str, best: int) -> None:
    history = [
        EpochMetrics(number, "whole", 0.1, 1.0, 0.1, *figures)
        for number, figures in enumerate(valid, 1)
    ]

    assert best_epoch(history, by).epoch == best


def test_history_is_a_csv_table(tmp_path: Path) -> None:
    history = [
        EpochMetrics(1, "head", 0.1, 1.5, 0.25, 1.25, 0.5, 0.125),
        EpochMetrics(2, "whole", 0.01, 1.0, 0.5, 1.0, 0.75, 0.5),
    ]

    write_history(history, tmp_path / "history.csv")

    with (tmp_path / "history.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            [
                *("epoch", "stage", "learning_rate", "loss", "accuracy"),
                *("val_loss", "val_accuracy", "val_macro_f1"),
            ],
            ["1", "head", "0.1", "1.5", "0.25", "1.25", "0.5", "0.125"],
            ["2", "whole", "0.01", "1.0", "0.5", "1.0", "0.75", "0.5"],
        ]
