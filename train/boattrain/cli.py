"""The ``boatinfer train`` commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from boatinfer.cli.options import from_fields
from boatinfer.errors import RunInterruptedError
from boattrain.config import Configured
from boattrain.options import CnnOptions

if TYPE_CHECKING:
    from boattrain.training import TrainingResult

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a classifier on a folder of labelled images.",
)


@app.callback()
def _group() -> None:
    """Keeps ``cnn`` a sub-command, though it is the only one."""


@dataclass(frozen=True)
class CnnCommand(Configured, CnnOptions):
    """What ``boatinfer train cnn`` takes."""


def _cnn(options: CnnCommand) -> None:
    """Train the small convolutional network.

    DATA holds train/<class>/ to learn from and valid/<class>/ to choose the best epoch by;
    if it holds the folders of the classes alone, valid is split off them. Beside the model
    go its card, its golden images, and the training's report, history and pictures.
    """
    from boattrain.training import train_cnn

    _tell(train_cnn(options))


def _tell(result: TrainingResult) -> None:
    fitted, metrics = result.fitted, result.evaluation.metrics
    typer.echo(result.evaluation.text())
    typer.echo(
        f"Best epoch {fitted.best.epoch} of {len(fitted.history)}: accuracy "
        f"{metrics['accuracy']:.4f}, macro-F1 {metrics['macro_f1']:.4f} on valid"
    )
    for path in result.files:
        typer.echo(f"Wrote {path}")
    if fitted.signal_number:
        raise RunInterruptedError(
            f"interrupted after epoch {len(fitted.history)}; {result.files.model} is the best so "
            "far, and the same command with --resume continues.",
            fitted.signal_number,
        )


app.command("cnn")(from_fields(CnnCommand, _cnn))
