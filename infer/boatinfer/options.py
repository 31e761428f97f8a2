"""The options of every capability, declared once for Python and the command line."""

from __future__ import annotations

import enum
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatinfer.errors import UsageError
from boatinfer.shards import Shard
from boatinfer.storage import Place, local, place, resolved

__all__ = [
    "CompareOptions",
    "Device",
    "EvaluateOptions",
    "FitOptions",
    "Force",
    "Metric",
    "RunOptions",
    "SimilarOptions",
]

#: For every command that writes one file.
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there already.")]


class Device(enum.StrEnum):
    """Where to run: ``auto`` takes the GPU if there is one that works."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Metric(enum.StrEnum):
    """How far two feature vectors are from each other."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


_BOUNDS = [
    ("top", 1, 10),
    ("batch_size", 1, 65_536),
    ("threads", 1, 65_536),
    ("limit", 1, sys.maxsize),
]


@dataclass(frozen=True)
class RunOptions:
    """Options of `boatinfer.run.run`; each field's help says what it does."""

    folder: Annotated[
        Place, typer.Argument(parser=place, metavar="DIR", help="Folder of images, or its URI.")
    ]
    out: Annotated[
        Place | None,
        typer.Option(
            "-o",
            "--out",
            parser=place,
            metavar="OUT",
            help="Results folder, or its URI; if not given, boatinfer-out/ and the name of DIR.",
        ),
    ] = None
    model: Annotated[
        Place | None,
        typer.Option(
            "-m",
            "--model",
            parser=place,
            metavar="FILE",
            help="Model file, or its URI; if not given, the built-in boats model.",
        ),
    ] = None
    features: Annotated[
        bool, typer.Option("--features", help="Keep each image's feature vector.")
    ] = False
    svm: Annotated[
        Path | None,
        typer.Option(
            parser=local, metavar="FILE", help="Add the labels of this SVM, a file of 'svm fit'."
        ),
    ] = None
    top: Annotated[
        int, typer.Option(min=1, max=10, help="How many classes to name for each image.")
    ] = 2
    device: Annotated[Device, typer.Option(help="Where to run the network.")] = Device.AUTO
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images in a batch; if not given, by the image size.")
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Worker threads; if not given, one for each usable CPU."),
    ] = None
    max_failures: Annotated[
        str, typer.Option(help="Failed images that still end in exit code 0: 5% or a number.")
    ] = "5%"
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Classify what can be decoded of a damaged JPEG.")
    ] = False

    fresh: Annotated[
        bool, typer.Option("--fresh", help="Do everything again, whatever was done before.")
    ] = False
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="S3 server of the s3:// URIs; if not given, AWS_ENDPOINT_URL or Amazon's.",
        ),
    ] = None
    recursive: Annotated[
        bool, typer.Option("--recursive/--no-recursive", help="Whether to enter sub-folders.")
    ] = True
    include: Annotated[
        list[str],
        typer.Option(metavar="GLOB", help="Only files that match; may be repeated."),
    ] = field(default_factory=list)
    exclude: Annotated[
        list[str],
        typer.Option(metavar="GLOB", help="No files or folders that match; may be repeated."),
    ] = field(default_factory=list)
    from_file: Annotated[
        Place | None,
        typer.Option(
            parser=place,
            metavar="LIST",
            help="Take the paths in this file (- is standard input), not all.",
        ),
    ] = None
    sniff: Annotated[
        bool, typer.Option("--sniff", help="Know images by their content, not only their ending.")
    ] = False
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first images, in the order of paths.")
    ] = None
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Whether to write report.html.")
    ] = True
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do the I-th of N shards; 'results --finish' ends the run.",
        ),
    ] = None

    @property
    def results_folder(self) -> Place:
        """Where the results go: ``out``, or a folder named after the scanned one."""
        return self.out or Path("boatinfer-out") / (resolved(self.folder).name or "root")

    @property
    def looks_everywhere(self) -> bool:
        """Whether an image that the run does not find has gone."""
        narrowed = self.include or self.exclude or self.from_file or self.limit
        return self.recursive and not narrowed

    def __post_init__(self) -> None:
        """Takes text where a path is meant, as Python users write it."""
        for name in ("folder", "out", "model", "from_file"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, place(value))
        if self.svm is not None:
            object.__setattr__(self, "svm", Path(self.svm))
        object.__setattr__(self, "exclude", [pattern.rstrip("/") for pattern in self.exclude])
        for name, least, most in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(f"{name} must be from {least} to {most:,}, not {value}.")
        if self.shard is not None:
            Shard.parse(self.shard)


@dataclass(frozen=True)
class FitOptions:
    """Options of `boatinfer.svm.fit`; each field's help says what it does."""

    out: Annotated[
        Place,
        typer.Argument(parser=place, metavar="OUT", help="Results folder made with --features."),
    ]
    output: Annotated[
        Path,
        typer.Option("-o", "--output", parser=local, metavar="FILE", help="SVM file to write."),
    ] = Path("svm.joblib")
    kernel: Annotated[Literal["rbf", "linear"], typer.Option(help="Kernel of the SVM.")] = "rbf"
    penalty: Annotated[
        float,
        typer.Option("--C", min=1e-9, help="Penalty: a larger one fits the images closer."),
    ] = 1.0
    force: Force = False


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of `boatinfer.evaluate.evaluate`; each field's help says what it does."""

    out: Annotated[
        Place,
        typer.Argument(
            parser=place,
            metavar="OUT",
            help="Results folder, or the DIR that was run without an -o.",
        ),
    ]
    labels: Annotated[
        Path | None,
        typer.Option(
            parser=local,
            metavar="FILE",
            help="CSV file with the columns path and label; if not given, the folder that an "
            "image lies in is its class.",
        ),
    ] = None


@dataclass(frozen=True)
class CompareOptions:
    """Options of `boatinfer.compare.compare`; each field's help says what it does."""

    one: Annotated[Place, typer.Argument(parser=place, metavar="OUT_A", help="Results folder.")]
    other: Annotated[
        Place,
        typer.Argument(parser=place, metavar="OUT_B", help="Another one, over the same images."),
    ]
    labels: Annotated[
        Path | None,
        typer.Option(
            parser=local,
            metavar="FILE",
            help="CSV file with the columns path and label; if not given, the folder that an "
            "image lies in is its class, if a model knows it.",
        ),
    ] = None


@dataclass(frozen=True)
class SimilarOptions:
    """Options of `boatinfer.similar.similar`; each field's help says what it does."""

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
        """Refuses a number that asks for nothing."""
        if self.k < 1:
            raise UsageError(f"k must be from 1, not {self.k}.")
