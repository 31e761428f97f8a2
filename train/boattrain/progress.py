"""How far a training is: a bar on a terminal, otherwise one line an epoch."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from boattrain.history import Epoch

__all__ = ["TrainingProgress"]


class TrainingProgress:
    """Shows a training's progress; a context manager.

    Args:
        epochs: how many there will be.
        batches: how many batches make an epoch.
        console: where to show it; standard error if not given.
    """

    def __init__(self, epochs: int, batches: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._epochs = epochs
        self._epoch = 1
        self._valid = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(None),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(f"epoch 1/{epochs}", total=epochs * batches)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def end_batch(self, loss: float, accuracy: float) -> None:
        """Takes the running figures of the epoch."""
        self._bar.update(self._task, advance=1, description=self._line(loss, accuracy))

    def end_epoch(self, epoch: Epoch) -> None:
        """Takes the figures of an epoch that is done."""
        self._valid = f"  valid accuracy {epoch.val_accuracy:.3f}"
        line = self._line(epoch.loss, epoch.accuracy)
        self._bar.update(self._task, description=line)
        if self._bar.disable:
            self._console.print(line, highlight=False, soft_wrap=True)
        self._epoch += 1

    def _line(self, loss: float, accuracy: float) -> str:
        figures = f"loss {loss:.3f}  accuracy {accuracy:.3f}{self._valid}"
        return f"epoch {self._epoch}/{self._epochs}  {figures}"
