"""Progress of a training: a bar on a terminal, and a line for each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from boattrain.fitting.history import EpochMetrics

__all__ = ["TrainingProgress"]


class TrainingProgress:
    """Shows a training's progress; a context manager.

    Args:
        epochs: number of epochs of each stage, by its name.
        console: the console to write to; standard error by default.
    """

    def __init__(self, epochs: Mapping[str, int], console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._epochs = epochs
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(None),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("preparing", total=None)

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

    def begin(self, stage: str, finished: int, steps: int) -> None:
        """Starts a stage.

        Args:
            stage: its name.
            finished: number of its epochs that are finished already.
            steps: steps per epoch.
        """
        self._stage, self._finished = stage, finished
        self._bar.reset(self._task, total=self._epochs[stage] * steps, completed=finished * steps)
        self._bar.update(self._task, description=self._position())

    def end_batch(self, loss: float, accuracy: float) -> None:
        """Shows the running metrics of the epoch."""
        metrics = f"loss {loss:.3f}  accuracy {accuracy:.3f}"
        self._bar.update(self._task, advance=1, description=f"{self._position()}  {metrics}")

    def end_epoch(self, epoch: EpochMetrics, best: EpochMetrics | None) -> None:
        """Prints the metrics of a finished epoch; ``best`` is the best so far, if one is chosen."""
        line = (
            f"{self._position()}  loss {epoch.loss:.3f}  accuracy {epoch.accuracy:.3f}"
            f"  valid: loss {epoch.val_loss:.3f}  accuracy {epoch.val_accuracy:.3f}"
            f"  macro-F1 {epoch.val_macro_f1:.3f}{'  best' if best == epoch else ''}"
        )
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)
        self._finished += 1

    def _position(self) -> str:
        stage = f"{self._stage} " if len(self._epochs) > 1 else ""
        return f"{stage}epoch {self._finished + 1}/{self._epochs[self._stage]}"
