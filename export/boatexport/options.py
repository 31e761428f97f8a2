"""The options of the export, declared once for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from boatinfer.options import Force

__all__ = ["ExportOptions"]


@dataclass(frozen=True)
class ExportOptions:
    """Options of `boatexport.exporting.export_model`; each field's help says what it does."""

    model: Annotated[
        Path, typer.Argument(metavar="MODEL.keras", help="Keras model made by 'boatinfer train'.")
    ]
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="ONNX file to write; if not given, beside the model."),
    ] = None
    golden: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images for the self-test, the first of each sub-folder and at most 16; if not "
            "given, those that the training kept.",
        ),
    ] = None

    name: Annotated[
        str | None, typer.Option(help="Name, for the card; if not given, as in the training.")
    ] = None
    licence: Annotated[str, typer.Option(help="Licence, for the card.")] = ""
    notes: Annotated[str, typer.Option(help="What people should know, for the card.")] = ""
    force: Force = False

    @property
    def onnx_file(self) -> Path:
        """The file to write: ``output``, or the model's name with ``.onnx``."""
        return self.output or self.model.with_suffix(".onnx")
