"""The options of the training, declared once for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from boatinfer.options import Force

__all__ = ["CnnOptions"]


@dataclass(frozen=True)
class CnnOptions:
    """Options of `boattrain.training.train_cnn`; each field's help says what it does."""

    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder that holds train/<class>/ and valid/<class>/, or <class>/ alone.",
        ),
    ]
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Model file to write; ends in .keras.")
    ] = Path("boats-cnn.keras")
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 10
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a step.")] = 32
    size: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH", help="The network's input, pixels.")
    ] = "30x100"
    valid: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Images that become valid where DATA holds <class>/ alone.",
        ),
    ] = "10%"
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Makes a training repeat.")] = 0
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where large pixel arrays are kept; if not given, in DATA/.boatinfer-cache.",
        ),
    ] = None
    force: Force = False
