"""Options of the commands that analyse results."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from boatinfer.errors import UsageError
from boatinfer.options import Labels, check_target, parse_share
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
            help="Results folder, or the image folder if it was run without -o.",
        ),
    ]
    labels: Labels = None
    by: Annotated[
        str | None,
        typer.Option(
            metavar="day|folder|COLUMN|REGEX",
            help="Also the figures of each group of images, with an interval over groups: by the "
            "date in the path, the folders above the class's, a column of --labels, or a regular "
            "expression that finds the group in the path.",
        ),
    ] = None
    foreign: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images of anything else, which the model should call unknown: also says how well "
            "it does.",
        ),
    ] = None
    reviewed: Annotated[
        bool,
        typer.Option(
            "--reviewed",
            help="Ground truth: the answers of 'boatinfer review', labels.csv in OUT; the same as "
            "--labels without FILE.",
        ),
    ] = False
    target_accuracy: Annotated[
        float | None,
        typer.Option(
            parser=parse_share,
            metavar="SHARE",
            help="Find the confidence threshold above which predictions have this accuracy.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Checks that the target accuracy is between 0 and 1, and that there is one truth."""
        check_target(self.target_accuracy)
        if self.reviewed and self.labels is not None:
            raise UsageError("give either --labels FILE or --reviewed, not both.")


@dataclass(frozen=True)
class CompareOptions:
    """Options of `boatinfer.analysis.compare.compare`; each field's help says what it does."""

    one: Annotated[Place, typer.Argument(parser=place, metavar="OUT_A", help="Results folder.")]
    other: Annotated[
        Place,
        typer.Argument(
            parser=place,
            metavar="OUT_B",
            help="Results folder of another run over the same images.",
        ),
    ]
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ground truth: CSV file with the columns path and label; by default an image's "
            "class is the name of its folder, if it is a class of a model.",
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
            help="Query image, and results folder made with --features. With --pairs: OUT IMAGE "
            "IMAGE...; with --duplicates: OUT.",
        ),
    ]
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Print the distances between the given images.")
    ] = False
    duplicates: Annotated[
        bool,
        typer.Option("--duplicates", help="List identical files and the closest pairs of images."),
    ] = False
    without: Annotated[
        list[str],
        typer.Option(
            "--without",
            metavar="CLASS",
            help="With --duplicates: leave out images of this predicted class; repeatable.",
        ),
    ] = field(default_factory=list)
    min_gap: Annotated[
        float,
        typer.Option(
            "--min-gap",
            min=0,
            metavar="SECONDS",
            help="With --duplicates: leave out pairs of files changed less than this apart.",
        ),
    ] = 0.0
    k: Annotated[int, typer.Option("-k", min=1, help="Number of neighbours, or of pairs.")] = 20
    metric: Annotated[Metric, typer.Option(help="Distance between feature vectors.")] = (
        Metric.EUCLIDEAN
    )
    model: Annotated[
        Place | None,
        typer.Option(
            "-m",
            "--model",
            parser=place,
            metavar="FILE",
            help="Model of the results, to compute the features of a query image that is not in "
            "them; by default the built-in one.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Checks that k is positive."""
        if self.k < 1:
            raise UsageError(f"k must be at least 1, not {self.k}.")
