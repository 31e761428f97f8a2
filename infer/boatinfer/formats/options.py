"""Options of the formats, for Python and the command line."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from boatinfer.errors import UsageError
from boatinfer.storage.locations import local_path

__all__ = ["ExportOptions", "Link"]


class Link(enum.StrEnum):
    """How an image gets into a class folder."""

    HARDLINK = "hardlink"
    SYMLINK = "symlink"
    COPY = "copy"


@dataclass(frozen=True)
class ExportOptions:
    """Where to write a format, and how; an option of one format is refused by the others."""

    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            parser=local_path,
            metavar="PATH",
            help="File or folder to write with --to.",
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="With --to, replace what is there, but no folder of images."
        ),
    ] = False
    image_root: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="With --to label-studio or fiftyone: folder or URL of the images for that tool.",
        ),
    ] = None
    class_types: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            metavar="FILE",
            help="With --to megadetector or camtrap-dp: CSV file with the columns label, type "
            "(animal, human, vehicle, blank, unknown) and, if known, scientific_name.",
        ),
    ] = None
    deployments: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            metavar="FILE",
            help="With --to camtrap-dp: CSV file with the columns deploymentID (the folder of the "
            "images), latitude and longitude, and any others of a deployment.",
        ),
    ] = None
    link: Annotated[
        Link | None,
        typer.Option(help="With --to folders: how to make the files; by default hardlink."),
    ] = None
    embed: Annotated[
        bool,
        typer.Option(
            "--embed", help="With --to xmp: copy the images, and write keywords into the copies."
        ),
    ] = False
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place", help="With --to xmp: write keywords into the images themselves."
        ),
    ] = False

    def special(self) -> dict[str, Any]:
        """The options that not every format has."""
        names = {field.name for field in fields(ExportOptions)} - {"output", "overwrite"}
        return {name: getattr(self, name) for name in sorted(names)}

    @property
    def target(self) -> Path:
        """The output.

        Raises:
            UsageError: none is given.
        """
        if self.output is None:
            raise UsageError("--to needs the file or folder to write; give it with -o.")
        return self.output
