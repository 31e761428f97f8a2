"""The options of what is done with support vector machines."""

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
        typer.Option(
            "--C",
            min=1e-9,
            help="Regularisation parameter: larger values fit the training images closer.",
        ),
    ] = 1.0
    search: Annotated[
        bool,
        typer.Option(
            "--search", help="Grid search over C and, for RBF, gamma by cross-validation."
        ),
    ] = False
    folds: Annotated[
        int,
        typer.Option(min=0, max=100, help="Cross-validation folds; 0 for no cross-validation."),
    ] = 5
    class_weights: Annotated[
        Literal["none", "balanced"],
        typer.Option(help="balanced weights images inversely to the frequency of their class."),
    ] = "none"
    probability: Annotated[
        bool,
        typer.Option(
            "--probability", help="Output calibrated probabilities instead of decision values."
        ),
    ] = False
    labels: Labels = None
    force: Force = False

    def __post_init__(self) -> None:
        """Refuses what is no number of its kind."""
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
            help="Results folder of test images; by default OUT is cross-validated.",
        ),
    ] = None
    network: Annotated[
        bool,
        typer.Option("--network", help="Include the network's own predictions in the comparison."),
    ] = False
    search: Annotated[
        bool,
        typer.Option(
            "--search", help="Grid search over C and, for RBF, gamma by cross-validation."
        ),
    ] = False
    folds: Annotated[int, typer.Option(min=2, max=100, help="Cross-validation folds.")] = 5
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ground truth of OUT: CSV file with the columns path and label; by default an "
            "image's class is the name of its folder.",
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Chart to write, .png or .svg."),
    ] = None
    force: Force = False
