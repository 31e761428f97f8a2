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
    """Options of `boattrain.sweep.sweep.sweep`; those of every training, and what is varied."""

    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write, or to continue in."),
    ] = Path("sweep")
    size: Annotated[str, typer.Option(hidden=True)] = ""
    resume: Annotated[bool, typer.Option("--resume", hidden=True)] = False
    sizes: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH,...", help="The network's inputs, pixels.")
    ] = "30x100,60x200"
    fractions: Annotated[
        str, typer.Option(metavar="FRACTION,...", help="Parts of the training images.")
    ] = "0.1,0.3,1"
    force: Annotated[
        bool, typer.Option("--force", help="Begin anew, whatever sweep the folder holds.")
    ] = False

    def __post_init__(self) -> None:
        """Refuses what cannot be varied."""
        super().__post_init__()
        if self.size:
            raise UsageError("a sweep varies the size; give --sizes instead of --size.")
        if not self.each_size:
            raise UsageError("--sizes is empty; write it like 30x100,60x200.")
        if not self.each_fraction:
            raise UsageError("--fractions is empty; write it like 0.1,0.3,1.")

    @property
    def each_size(self) -> list[str]:
        """The sizes, each once."""
        return _items(self.sizes)

    @property
    def each_fraction(self) -> list[float]:
        """The fractions, each once.

        Raises:
            UsageError: one is no number above 0 and at most 1.
        """
        found = []
        for text in _items(self.fractions):
            try:
                number = float(text)
            except ValueError:
                number = 0.0
            if not 0 < number <= 1:
                raise UsageError(
                    f"--fractions: {text} is no number above 0 and at most 1; write them like "
                    "0.1,0.3,1."
                )
            found.append(number)
        return list(dict.fromkeys(found))


def _items(text: str) -> list[str]:
    """What stands between the commas, each once."""
    return list(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))
