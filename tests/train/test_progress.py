from __future__ import annotations

import io

from rich.console import Console

from boattrain.fitting.history import EpochMetrics
from boattrain.fitting.progress import TrainingProgress


def shown(stages: dict[str, int], *, terminal: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=160)
    first = EpochMetrics(1, "head", 0.1, 1.25, 0.5, 1.5, 0.25, 0.125)
    second = first._replace(epoch=2, val_accuracy=0.125)
    with TrainingProgress(stages, console) as shown:
        for stage, epochs in stages.items():
            shown.begin(stage, 0, 1)
            for epoch in (first, second)[:epochs]:
                shown.end_batch(loss=1.75, accuracy=0.5)
                shown.end_epoch(epoch, first)
    return file.getvalue()


FIGURES = "loss 1.250  accuracy 0.500  valid: loss 1.500"


def test_elsewhere_each_epoch_is_one_plain_line() -> None:
    assert shown({"whole": 2}, terminal=False).splitlines() == [
        f"epoch 1/2  {FIGURES}  accuracy 0.250  macro-F1 0.125  best",
        f"epoch 2/2  {FIGURES}  accuracy 0.125  macro-F1 0.125",
    ]


def test_where_no_epoch_is_chosen_none_is_the_best() -> None:
    file = io.StringIO()
    with TrainingProgress({"whole": 1}, Console(file=file, width=160)) as shown:
        shown.begin("whole", 0, 1)
        shown.end_epoch(EpochMetrics(1, "whole", 0.1, 1.25, 0.5, 1.5, 0.25, 0.125), None)
    assert "macro-F1 0.125\n" in file.getvalue()


def test_several_stages_are_named_and_counted_each() -> None:
    lines = shown({"head": 2, "whole": 1}, terminal=False).splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "head epoch 1/2",
        "head epoch 2/2",
        "whole epoch 1/1",
    ]


def test_a_terminal_gets_a_bar_too() -> None:
    text = shown({"whole": 2}, terminal=True)

    assert f"epoch 2/2  {FIGURES}" in text
    assert "epoch 2/2  loss 1.750" in text
    assert "━" in text
