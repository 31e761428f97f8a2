"""Options of ``boatinfer review``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from boatinfer.errors import UsageError
from boatinfer.results.registry import user_name
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place

__all__ = ["ReviewOptions"]

#: Characters of a name, at most.
_NAME = 100


@dataclass(frozen=True)
class ReviewOptions:
    """Options of `boatinfer.review.command.review`; each field's help says what it does."""

    out: Annotated[
        Place,
        typer.Argument(
            parser=place,
            metavar="OUT",
            help="Results folder, or the image folder if it was run without -o.",
        ),
    ]
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on this machine; 0 means any free one.")
    ] = 0
    name: Annotated[
        str | None,
        typer.Option(metavar="WHO", help="Who answers; by default the name of the user."),
    ] = None
    everything: Annotated[
        bool,
        typer.Option("--all", help="Ask about all images, not only the new ones of the last run."),
    ] = False
    train: Annotated[
        Place | None,
        typer.Option(
            parser=place,
            metavar="OUT2",
            help="Results folder of the training images, run with --features: show the nearest.",
        ),
    ] = None
    suspects: Annotated[
        Path | None,
        typer.Option(
            "--list",
            metavar="FILE",
            help="CSV file with the column path: images whose label is likely wrong.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Checks the name."""
        if self.name is not None and not (self.name.isprintable() and 0 < len(self.name) <= _NAME):
            raise UsageError(f"--name must have 1 to {_NAME} printable characters; shorten it.")

    @property
    def who(self) -> str:
        """Who answers."""
        return user_name() if self.name is None else self.name
