from __future__ import annotations

import io

from rich.console import Console

from boattrain.history import Epoch
from boattrain.progress import TrainingProgress


def shown(*, terminal: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120)
    with TrainingProgress(epochs=2, batches=1, console=console) as progress:
        for number in (1, 2):
            progress.end_batch(loss=1.25, accuracy=0.5)
            progress.end_epoch(Epoch(number, 1.25, 0.5, 1.5, 0.25))
    return file.getvalue()


def test_elsewhere_each_epoch_is_one_plain_line() -> None:
    assert shown(terminal=False).splitlines() == [
        "epoch 1/2  loss 1.250  accuracy 0.500  valid accuracy 0.250",
        "epoch 2/2  loss 1.250  accuracy 0.500  valid accuracy 0.250",
    ]


def test_a_terminal_gets_a_bar() -> None:
    text = shown(terminal=True)

    assert "epoch 2/2  loss 1.250  accuracy 0.500  valid accuracy 0.250" in text
    assert "━" in text
    assert "0:00:00" in text
