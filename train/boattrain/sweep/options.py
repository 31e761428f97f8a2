"""The options of the sweep, declared once for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from boatinfer.errors import UsageError
from boattrain.options import CnnOptions

__all__ = ["SweepOptions"]


@dataclass(frozen=True)
class SweepOptions(CnnOptions):
    """Options of `boattrain.sweep.sweep.sweep`: those of a training, sizes and fractions."""

    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Output folder; an interrupted sweep in it is continued.",
        ),
    ] = Path("sweep")
    size: Annotated[str, typer.Option(hidden=True)] = ""
    resume: Annotated[bool, typer.Option("--resume", hidden=True)] = False
    sizes: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH,...", help="Input sizes of the network, in pixels.")
    ] = "30x100,60x200"
    fractions: Annotated[
        str, typer.Option(metavar="FRACTION,...", help="Fractions of the training images.")
    ] = "0.1,0.3,1"
    force: Annotated[
        bool, typer.Option("--force", help="Start over and replace the sweep in the output folder.")
    ] = False

    def __post_init__(self) -> None:
        """Checks the options of the sweep."""
        super().__post_init__()
        if self.size:
            raise UsageError("a sweep has several sizes; give --sizes instead of --size.")
        if not self.size_list:
            raise UsageError("--sizes is empty; write it like 30x100,60x200.")
        if not self.fraction_list:
            raise UsageError("--fractions is empty; write it like 0.1,0.3,1.")

    @property
    def size_list(self) -> list[str]:
        """The input sizes, without duplicates."""
        return _split_list(self.sizes)

    @property
    def fraction_list(self) -> list[float]:
        """The fractions, without duplicates.

        Raises:
            UsageError: a fraction is not above 0 and at most 1.
        """
        numbers = []
        for text in _split_list(self.fractions):
            try:
                number = float(text)
            except ValueError:
                number = 0.0
            if not 0 < number <= 1:
                raise UsageError(
                    f"--fractions: {text} is not a number above 0 and at most 1; write them like "
                    "0.1,0.3,1."
                )
            numbers.append(number)
        return list(dict.fromkeys(numbers))


def _split_list(text: str) -> list[str]:
    """Splits a comma-separated list, and drops duplicates."""
    return list(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))
