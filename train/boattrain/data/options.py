"""The options of the data commands, declared once for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatinfer.dataset.held_back import HELD_BACK
from boatinfer.i18n import Choice
from boatinfer.options import Force, GroupBy, Memory, PageLanguage, Table
from boattrain.augment import Augmentation

__all__ = [
    "AuditOptions",
    "BuildOptions",
    "CheckOptions",
    "DownloadOptions",
    "ShowOptions",
    "SplitOptions",
]


DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Image folder with train/<class>/ and valid/<class>/, or with <class>/ only.",
    ),
]
ValidOption = Annotated[
    str,
    typer.Option(
        metavar="SHARE",
        help="Share of each class held out for validation if DATA has <class>/ only.",
    ),
]


@dataclass(frozen=True)
class CheckOptions:
    """Options of `boattrain.data.check.check`; the help of each field describes it."""

    data: DataArgument
    valid: ValidOption = "10%"
    table: Table = None
    group_by: GroupBy = None
    memory: Memory = None


@dataclass(frozen=True)
class _GridFields:
    """The fields of `ShowOptions`, but for augmentation."""

    data: DataArgument
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.png", help="PNG file to write.")
    ]
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option(help="Split to take the images from.")
    ] = "train"
    rows: Annotated[
        int, typer.Option(min=1, max=50, metavar="INTEGER", help="Rows of images in the grid.")
    ] = 4
    columns: Annotated[
        int, typer.Option(min=1, max=50, metavar="INTEGER", help="Columns of images in the grid.")
    ] = 3
    size: Annotated[
        str,
        typer.Option(metavar="HEIGHTxWIDTH", help="Size to resize the images to, in pixels."),
    ] = "120x400"
    seed: Annotated[
        int,
        typer.Option(
            min=0, metavar="INTEGER", help="Random seed of the choice of images and augmentation."
        ),
    ] = 0
    valid: ValidOption = "10%"
    table: Table = None
    group_by: GroupBy = None
    augment: Annotated[
        bool,
        typer.Option(
            "--augment",
            help="Augment the images; moderately, unless augmentation options are given.",
        ),
    ] = False
    force: Force = False


@dataclass(frozen=True)
class ShowOptions(Augmentation, _GridFields):
    """Options of `boattrain.data.show.show`; the help of each field describes it."""


@dataclass(frozen=True)
class SplitOptions:
    """Options of `boattrain.data.split.split`; the help of each field describes it."""

    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder with the images in <class>/.")
    ]
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Folder to create, with train/ and valid/."
        ),
    ]
    valid: Annotated[
        str, typer.Option(metavar="SHARE", help="Share of each class for valid/, such as 10%.")
    ] = "10%"
    test: Annotated[
        str | None,
        typer.Option(metavar="SHARE", show_default="none", help="Share of each class for test/."),
    ] = None
    table: Table = None
    group_by: GroupBy = None
    seed: Annotated[
        int, typer.Option(min=0, metavar="INTEGER", help="Random seed of the split.")
    ] = 0
    link: Annotated[
        bool,
        typer.Option(
            "--link/--copy",
            help="Hard-link the images, which takes no disk space, instead of copying them.",
        ),
    ] = False


@dataclass(frozen=True)
class AuditOptions:
    """Options of `boattrain.data.audit.audit`; the help of each field describes it."""

    data: DataArgument
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.csv", help="Table to write.")
    ] = Path("audit.csv")
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE.html", help="Also write an HTML page with images."),
    ] = None
    language: PageLanguage = Choice.ENGLISH
    model: Annotated[
        str,
        typer.Option(
            "-m",
            "--model",
            metavar="FILE",
            help="Model whose features are used: an ONNX file, or boats, the built-in one.",
        ),
    ] = "boats"
    most: Annotated[
        int, typer.Option(min=1, metavar="INTEGER", help="Images to list, at most.")
    ] = 200
    folds: Annotated[
        int, typer.Option(min=2, metavar="INTEGER", help="Folds of the cross-validation.")
    ] = 5
    table: Table = None
    force: Force = False


@dataclass(frozen=True)
class BuildOptions:
    """Options of `boattrain.data.build.build`; the help of each field describes it."""

    base: Annotated[
        Path,
        typer.Option(
            "--base", metavar="DATA", help="Labelled images of the last training, as for train."
        ),
    ]
    labels: Annotated[
        Path,
        typer.Option(
            "--labels", metavar="FILE", help="Answers of a review: labels.csv in a results folder."
        ),
    ]
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Folder to create, with train/, valid/ and test/."
        ),
    ]
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default="the one of the results",
            help="Folder of the images that the answers are about.",
        ),
    ] = None
    base_table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Table of the images in DATA: CSV file with the columns path and label, and "
            "optionally split and group.",
        ),
    ] = None
    held_back: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Share of the labelled images for test/, by a hash of their content; those of a "
            "random sample are all held back.",
        ),
    ] = HELD_BACK
    valid: ValidOption = "10%"
    group_by: GroupBy = None
    as_table: Annotated[
        bool,
        typer.Option("--as-table", help="Write a table, data.csv, instead of folders of images."),
    ] = False
    link: Annotated[
        bool,
        typer.Option(
            "--link/--copy",
            help="Hard-link the images, which takes no disk space, instead of copying them.",
        ),
    ] = False


@dataclass(frozen=True)
class DownloadOptions:
    """Options of `boattrain.data.download.download`; the help of each field describes it."""

    url: Annotated[
        str, typer.Argument(metavar="URL", help="URL of a zip or tar archive of images.")
    ]
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to create.")]
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="Expected SHA-256 checksum of the archive."),
    ] = None
