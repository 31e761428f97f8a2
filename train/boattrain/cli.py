"""The ``boatinfer train`` commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from boatinfer.cli.fields import from_fields
from boatinfer.errors import RunInterruptedError
from boattrain.config import Configured
from boattrain.options import BoatsOptions, CnnOptions, ResnetOptions
from boattrain.sweep.options import SweepOptions

if TYPE_CHECKING:
    from boattrain.training import TrainingResult

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a classifier on a folder of labelled images.",
)


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


@dataclass(frozen=True)
class BoatsCommand(Configured, BoatsOptions):
    """What ``boatinfer train boats`` takes."""


def _boats(options: BoatsCommand) -> None:
    """Train the network of the built-in model, by its recipe.

    It learns at half the size first, then at the whole, and its last epoch is kept.
    """
    from boattrain.training import train_boats

    _tell(train_boats(options))


@dataclass(frozen=True)
class ResnetCommand(Configured, ResnetOptions):
    """What ``boatinfer train resnet`` takes."""


def _resnet(options: ResnetCommand) -> None:
    """Train a new head on ResNet50, and with --unfreeze then more of it, end to end.

    Without augmentation or mixup, what ResNet50 makes of each image is computed once and
    kept; the epochs of the head then take seconds. Batch norms stay as they are.
    """
    from boattrain.training import train_resnet

    _tell(train_resnet(options))


def _tell(result: TrainingResult) -> None:
    fitted, evaluation = result.fitted, result.evaluation
    typer.echo(evaluation.summary(" (valid)"))
    typer.echo(
        f"\nEpoch {fitted.best.epoch} of {len(fitted.history)} is kept: accuracy "
        f"{evaluation.accuracy:.4f}, macro-F1 {evaluation.macro_f1:.4f} on valid"
    )
    for path in result.files:
        typer.echo(f"Wrote {path}")
    if fitted.signal_number:
        raise RunInterruptedError(
            f"interrupted after epoch {len(fitted.history)}; {result.files.model} is the best so "
            "far, and the same command with --resume continues.",
            fitted.signal_number,
        )


@dataclass(frozen=True)
class SweepCommand(Configured, SweepOptions):
    """What ``boatinfer train sweep`` takes."""


def _sweep(options: SweepCommand) -> None:
    """Train the small convolutional network at several sizes, on parts of the images.

    The folder gets accuracy and macro-F1 on valid as table and picture, after each training;
    the same command continues a sweep that was interrupted.
    """
    from boattrain.sweep.sweep import sweep

    swept = sweep(options)
    typer.echo(f"{'size':>9}{'fraction':>10}{'images':>9}{'accuracy':>10}{'macro-F1':>10}")
    for point in swept.points:
        typer.echo(
            f"{point.size:>9}{point.fraction:>10g}{point.images:>9,}"
            f"{point.accuracy:>10.4f}{point.macro_f1:>10.4f}"
        )
    for path in swept.files:
        typer.echo(f"Wrote {path}")


app.command("cnn")(from_fields(CnnCommand, _cnn))
app.command("boats")(from_fields(BoatsCommand, _boats))
app.command("resnet")(from_fields(ResnetCommand, _resnet))
app.command("sweep")(from_fields(SweepCommand, _sweep))
