"""The options of every capability, declared once for Python and the command line."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["Device", "FitOptions", "RunOptions"]


class Device(enum.StrEnum):
    """Where to run: ``auto`` takes the GPU if there is one that works."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class RunOptions:
    """Options of `boatinfer.run.run`; each field's help says what it does."""

    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")]
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Results folder [default: boatinfer-out/NAME-OF-DIR]."),
    ] = None
    model: Annotated[
        Path | None,
        typer.Option("-m", "--model", help="Model file [default: the built-in boats model]."),
    ] = None
    features: Annotated[
        bool, typer.Option("--features", help="Keep each image's feature vector.")
    ] = False
    svm: Annotated[
        Path | None,
        typer.Option(help="Add the labels of this SVM, a file of 'svm fit'."),
    ] = None
    top: Annotated[
        int, typer.Option(min=1, max=10, help="How many classes to name for each image.")
    ] = 2
    device: Annotated[Device, typer.Option(help="Where to run the network.")] = Device.AUTO
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images a batch [default: by the image size].")
    ] = None
    threads: Annotated[
        int | None, typer.Option(min=1, help="Worker threads [default: one a usable CPU].")
    ] = None
    max_failures: Annotated[
        str, typer.Option(help="Failed images that still end in exit code 0: 5% or a number.")
    ] = "5%"
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Classify what can be decoded of a damaged JPEG.")
    ] = False

    @property
    def results_folder(self) -> Path:
        """Where the results go: ``out``, or a folder named after the scanned one."""
        return self.out or Path("boatinfer-out") / (self.folder.resolve().name or "root")


@dataclass(frozen=True)
class FitOptions:
    """Options of `boatinfer.svm.fit`; each field's help says what it does."""

    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Results folder made with --features."),
    ]
    output: Annotated[Path, typer.Option("-o", "--output", help="SVM file to write.")] = Path(
        "svm.joblib"
    )
    kernel: Annotated[Literal["rbf", "linear"], typer.Option(help="Kernel of the SVM.")] = "rbf"
    penalty: Annotated[
        float, typer.Option("--C", min=1e-9, help="Larger fits the images closer.")
    ] = 1.0
