"""The options of the data commands, declared once for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatinfer.options import Force, Memory
from boattrain.augment import Augmentation

__all__ = ["CheckOptions", "DownloadOptions", "ShowOptions", "SplitOptions"]


DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="Folder that holds train/<class>/ and valid/<class>/, or <class>/."
    ),
]
ValidOption = Annotated[
    str,
    typer.Option(metavar="SHARE", help="Share of valid where DATA holds <class>/ alone."),
]


@dataclass(frozen=True)
class CheckOptions:
    """Options of `boattrain.data.check.check`; each field's help says what it does."""

    data: DataArgument
    valid: ValidOption = "10%"
    memory: Memory = None


@dataclass(frozen=True)
class _Picture:
    """Which images to show, and how; the fields of `ShowOptions`."""

    data: DataArgument
    output: Annotated[Path, typer.Option("-o", "--output", help="Picture to write, a PNG file.")]
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option(help="Where to take images from.")
    ] = "train"
    rows: Annotated[int, typer.Option(min=1, max=50, help="Images below each other.")] = 4
    columns: Annotated[int, typer.Option(min=1, max=50, help="Images beside each other.")] = 3
    size: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH", help="Size to read images in, pixels.")
    ] = "120x400"
    seed: Annotated[int, typer.Option(min=0, help="Another one shows other images.")] = 0
    valid: ValidOption = "10%"
    augment: Annotated[
        bool,
        typer.Option(
            "--augment",
            help="Change the images as the options below say; if none is given, moderately.",
        ),
    ] = False
    force: Force = False


@dataclass(frozen=True)
class ShowOptions(Augmentation, _Picture):
    """Options of `boattrain.data.show.show`; each field's help says what it does."""


@dataclass(frozen=True)
class SplitOptions:
    """Options of `boattrain.data.split.split`; each field's help says what it does."""

    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder that holds <class>/ with images.")
    ]
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DATA", help="Folder to make, with train/ and valid/."
        ),
    ]
    valid: Annotated[
        str, typer.Option(metavar="SHARE", help="Share of each class that becomes valid.")
    ] = "10%"
    test: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Share that becomes test; if not given, none."),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Another one splits otherwise.")] = 0
    link: Annotated[
        bool,
        typer.Option("--link/--copy", help="Hard links, which take no room, instead of copies."),
    ] = False


@dataclass(frozen=True)
class DownloadOptions:
    """Options of `boattrain.data.download.download`; each field's help says what it does."""

    url: Annotated[
        str, typer.Argument(metavar="URL", help="Address of a zip or tar archive of images.")
    ]
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DATA", help="Folder to make.")]
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="What the archive's SHA-256 has to be."),
    ] = None
