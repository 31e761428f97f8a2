"""Options that several commands share; those of one kind of command are beside what they call.

Every option is declared once, for Python and the command line.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatinfer.errors import UsageError
from boatinfer.storage.place import Place, resolved

__all__ = ["Device", "Force", "Kernel", "check_target", "default_out"]

#: For every command that writes one file.
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there already.")]


class Device(enum.StrEnum):
    """Where to run: ``auto`` takes the GPU if there is one that works."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Kernel = Literal["rbf", "linear"]


def default_out(folder: Place) -> Path:
    """Where the results go if nobody says: a folder named after the scanned one."""
    return Path("boatinfer-out") / (resolved(folder).name or "root")


def check_target(accuracy: float | None) -> None:
    """Refuses a --target-accuracy that is none."""
    if accuracy is not None and not 0 < accuracy < 1:
        raise UsageError(f"--target-accuracy {accuracy}: give a share between 0 and 1, as 0.99.")
