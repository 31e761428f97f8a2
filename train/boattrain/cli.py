"""The ``boatinfer train`` commands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from boatinfer.cli.fields import from_fields
from boatinfer.errors import RunInterruptedError
from boatinfer.text import decimal
from boattrain.config import ConfigOption
from boattrain.messages import messages_on_stderr
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
class CnnCommand(ConfigOption, CnnOptions):
    """Options of ``boatinfer train cnn``."""


@messages_on_stderr()
def _cnn(options: CnnCommand) -> None:
    """Train a small convolutional network.

    DATA has the training images in train/<class>/ and the validation images in
    valid/<class>/; if it has <class>/ only, a part is held out for validation. The model card,
    the golden images of its self-test, a report, the history, the plots and the options used
    are written beside the model.
    """
    from boattrain.training import train_cnn

    _print_result(train_cnn(options))


@dataclass(frozen=True)
class BoatsCommand(ConfigOption, BoatsOptions):
    """Options of ``boatinfer train boats``."""


@messages_on_stderr()
def _boats(options: BoatsCommand) -> None:
    """Train the architecture of the built-in model, with its settings as the defaults.

    It is trained at half resolution first, then at full resolution.
    """
    from boattrain.training import train_boats

    _print_result(train_boats(options))


@dataclass(frozen=True)
class ResnetCommand(ConfigOption, ResnetOptions):
    """Options of ``boatinfer train resnet``."""


@messages_on_stderr()
def _resnet(options: ResnetCommand) -> None:
    """Train a new classification head on ResNet50, then fine-tune it with --unfreeze.

    Without augmentation and mixup, the features of each image are computed once and cached,
    and the epochs of the head take seconds. Batch normalisation layers stay frozen.
    """
    from boattrain.training import train_resnet

    _print_result(train_resnet(options))


def _print_result(result: TrainingResult) -> None:
    from boattrain.saving import apart_note

    fit, evaluation = result.fit, result.evaluation
    typer.echo(evaluation.summary(" (valid)"))
    typer.echo(
        f"\nEpoch {fit.best.epoch} of {len(fit.history)} was kept: validation accuracy "
        f"{decimal(evaluation.accuracy)}, macro-F1 {decimal(evaluation.macro_f1)}"
    )
    typer.echo(apart_note(result.group_by))
    for path in result.files:
        typer.echo(f"Wrote {path}")
    model = result.files.model
    export = f"boatinfer export {shlex.quote(str(model))} -o {shlex.quote(f'{model.stem}.onnx')}"
    typer.echo(f"Next: {export}")
    if fit.signal_number:
        raise RunInterruptedError(
            f"interrupted after epoch {len(fit.history)}; {result.files.model} has the best "
            "weights so far; the same command with --resume continues.",
            fit.signal_number,
        )


@dataclass(frozen=True)
class SweepCommand(ConfigOption, SweepOptions):
    """Options of ``boatinfer train sweep``."""


@messages_on_stderr()
def _sweep(options: SweepCommand) -> None:
    """Train the small convolutional network for several input sizes and amounts of data.

    After each training, a table and a plot of validation accuracy and macro-F1 are updated in
    the output folder. The same command continues an interrupted sweep.
    """
    from boattrain.sweep.sweep import sweep

    result = sweep(options)
    typer.echo(f"{'size':>9}{'fraction':>10}{'images':>9}{'accuracy':>10}{'macro-F1':>10}")
    for point in result.points:
        typer.echo(
            f"{point.size:>9}{point.fraction:>10g}{point.images:>9,}"
            f"{point.accuracy:>10.4f}{point.macro_f1:>10.4f}"
        )
    for path in result.files:
        typer.echo(f"Wrote {path}")


app.command("cnn")(from_fields(CnnCommand, _cnn))
app.command("boats")(from_fields(BoatsCommand, _boats))
app.command("resnet")(from_fields(ResnetCommand, _resnet))
app.command("sweep")(from_fields(SweepCommand, _sweep))
