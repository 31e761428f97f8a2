"""Options of the commands that analyse results."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from boatinfer.errors import UsageError
from boatinfer.options import Labels, check_target
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place

__all__ = ["CompareOptions", "EvaluateOptions", "Metric", "SimilarOptions"]


class Metric(enum.StrEnum):
    """Distance between two feature vectors."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of `boatinfer.analysis.evaluate.evaluate`; each field's help says what it does."""

    out: Annotated[
        Place,
        typer.Argument(
            parser=place,
            metavar="OUT",
            help="Results folder, or the DIR that was run without an -o.",
        ),
    ]
    labels: Labels = None
    target_accuracy: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Say from which confidence on the predictions are this accurate."
        ),
    ] = None

    def __post_init__(self) -> None:
        """Checks that the target accuracy is between 0 and 1."""
        check_target(self.target_accuracy)


@dataclass(frozen=True)
class CompareOptions:
    """Options of `boatinfer.analysis.compare.compare`; each field's help says what it does."""

    one: Annotated[Place, typer.Argument(parser=place, metavar="OUT_A", help="Results folder.")]
    other: Annotated[
        Place,
        typer.Argument(parser=place, metavar="OUT_B", help="Another one, over the same images."),
    ]
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file with the columns path and label; if not given, the folder that an "
            "image lies in is its class, if a model knows it.",
        ),
    ] = None


@dataclass(frozen=True)
class SimilarOptions:
    """Options of `boatinfer.analysis.similar.similar`; each field's help says what it does."""

    paths: Annotated[
        list[Place],
        typer.Argument(
            parser=place,
            metavar="IMAGE OUT",
            help="An image, and a results folder made with --features. With --pairs: OUT IMAGE "
            "IMAGE...; with --duplicates: OUT.",
        ),
    ]
    pairs: Annotated[bool, typer.Option("--pairs", help="The distances between a few images.")] = (
        False
    )
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Copies, and the closest pairs of all images.")
    ] = False
    k: Annotated[int, typer.Option("-k", min=1, help="How many images, or pairs.")] = 20
    metric: Annotated[Metric, typer.Option(help="Which distance between feature vectors.")] = (
        Metric.EUCLIDEAN
    )
    model: Annotated[
        Place | None,
        typer.Option(
            "-m",
            "--model",
            parser=place,
            metavar="FILE",
            help="Model file of the results, for an IMAGE that is not in them; if not given, the "
            "built-in one.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Checks that k is positive."""
        if self.k < 1:
            raise UsageError(f"k must be at least 1, not {self.k}.")
