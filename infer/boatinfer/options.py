"""Options that several commands share; the others are beside the code that uses them.

Every option is declared once, for Python and the command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boatinfer.errors import UsageError
from boatinfer.memory import parse_size
from boatinfer.models.device import Device
from boatinfer.storage.base import Place
from boatinfer.storage.locations import local_path, place

__all__ = ["Device", "Force", "Labels", "Memory", "ModelFile", "OnDevice", "check_target"]

#: For every command that writes one file.
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there already.")]


#: For every command that runs a model.
ModelFile = Annotated[
    Place | None,
    typer.Option(
        "-m",
        "--model",
        parser=place,
        metavar="FILE",
        help="Model file, or its URI; if not given, the built-in boats model.",
    ),
]
OnDevice = Annotated[Device, typer.Option(help="Where to run the network.")]

#: For every command that reads many images.
Memory = Annotated[
    int | None,
    typer.Option(
        parser=parse_size,
        metavar="SIZE",
        help="Memory to use at most, such as 4G; larger images fail, and large ones wait for "
        "each other. If not given, three quarters of what there is.",
    ),
]

#: For every command that needs to know the true classes.
Labels = Annotated[
    Path | None,
    typer.Option(
        parser=local_path,
        metavar="FILE",
        help="CSV file with the columns path and label; if not given, the folder that an image "
        "lies in is its class.",
    ),
]


def check_target(accuracy: float | None) -> None:
    """Refuses a --target-accuracy that is not between 0 and 1."""
    if accuracy is not None and not 0 < accuracy < 1:
        raise UsageError(f"--target-accuracy {accuracy}: give a share between 0 and 1, as 0.99.")
