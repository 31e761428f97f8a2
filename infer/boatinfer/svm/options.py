"""Options of the commands for support vector machines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatinfer.errors import UsageError
from boatinfer.models.kernel import Kernel
from boatinfer.options import Force, Labels
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place

__all__ = ["FitOptions", "SVMCompareOptions"]


@dataclass(frozen=True)
class FitOptions:
    """Options of `boatinfer.svm.fit.fit`; each field's help says what it does."""

    out: Annotated[
        Place,
        typer.Argument(parser=place, metavar="OUT", help="Results folder made with --features."),
    ]
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="SVM file to write."),
    ] = Path("svm.joblib")
    kernel: Annotated[Kernel, typer.Option(help="Kernel of the SVM.")] = "rbf"
    penalty: Annotated[
        float,
        typer.Option("--C", min=1e-9, help="Penalty: a larger one fits the images more closely."),
    ] = 1.0
    search: Annotated[
        bool,
        typer.Option("--search", help="Try values of C, and of RBF's gamma; take the best."),
    ] = False
    folds: Annotated[
        int,
        typer.Option(min=0, max=100, help="Folds of the cross-validation, 2 or more; 0 for none."),
    ] = 5
    class_weights: Annotated[
        Literal["none", "balanced"],
        typer.Option(help="balanced: classes are weighted equally, whatever their numbers."),
    ] = "none"
    probability: Annotated[
        bool, typer.Option("--probability", help="Calibrate the scores to probabilities.")
    ] = False
    labels: Labels = None
    force: Force = False

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if not 0 < self.penalty < math.inf:
            raise UsageError(f"--C {self.penalty}: it must be a number above 0.")
        if self.folds == 1 or not 0 <= self.folds <= 100:
            raise UsageError(f"--folds {self.folds}: give 0 for none, or from 2 to 100.")


@dataclass(frozen=True)
class SVMCompareOptions:
    """Options of `boatinfer.svm.compare.compare`; each field's help says what it does."""

    out: Annotated[
        Place,
        typer.Argument(parser=place, metavar="OUT", help="Results folder made with --features."),
    ]
    test: Annotated[
        Place | None,
        typer.Option(
            parser=place,
            metavar="OUT",
            help="Results folder of other images to test on; if not given, OUT is cross-validated.",
        ),
    ] = None
    network: Annotated[
        bool, typer.Option("--network", help="Compare the SVMs with the network too.")
    ] = False
    search: Annotated[
        bool, typer.Option("--search", help="Try values of C, and of RBF's gamma; take the best.")
    ] = False
    folds: Annotated[int, typer.Option(min=2, max=100, help="Folds of the cross-validation.")] = 5
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file with the columns path and label, of OUT; if not given, the folder of an "
            "image is its class.",
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Chart to draw, .png or .svg."),
    ] = None
    force: Force = False
