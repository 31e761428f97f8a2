"""The ``boatinfer train`` commands."""

from __future__ import annotations

import typer

from boatinfer.cli.options import from_fields
from boattrain.options import CnnOptions

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


def _cnn(options: CnnOptions) -> None:
    """Train the small convolutional network.

    DATA holds train/<class>/ to learn from and valid/<class>/ to choose the best epoch by;
    if it holds the folders of the classes alone, valid is split off them.
    Beside the model go its card, its golden images, and the training's history and curves.
    """
    from boattrain.summary import summarise
    from boattrain.training import train_cnn

    typer.echo(summarise(train_cnn(options)))


app.command("cnn")(from_fields(CnnOptions, _cnn))
