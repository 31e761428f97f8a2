"""The options of every capability, declared once for Python and the command line."""

from __future__ import annotations

import enum
import math
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatinfer.errors import UsageError
from boatinfer.night.scan import to_text
from boatinfer.night.shards import Shard
from boatinfer.storage.place import Place, local, place, resolved

__all__ = [
    "CompareOptions",
    "Device",
    "Engine",
    "EvaluateOptions",
    "FitOptions",
    "Force",
    "Kernel",
    "Metric",
    "RunOptions",
    "SVMCompareOptions",
    "SimilarOptions",
]

#: For every command that writes one file.
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it is there already.")]


class Device(enum.StrEnum):
    """Where to run: ``auto`` takes the GPU if there is one that works."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Kernel = Literal["rbf", "linear"]


class Engine(enum.StrEnum):
    """Who does the work of a run."""

    LOCAL = "local"
    RAY = "ray"


class Metric(enum.StrEnum):
    """How far two feature vectors are from each other."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


_BOUNDS = [
    ("top", 1, 10),
    ("batch_size", 1, 65_536),
    ("threads", 1, 65_536),
    ("workers", 1, 65_536),
    ("limit", 1, sys.maxsize),
]


@dataclass(frozen=True)
class RunOptions:
    """Options of `boatinfer.night.run.run`; each field's help says what it does."""

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
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Label an image 'unsure' if the network is less confident, and list "
            "it in review.csv.",
        ),
    ] = None
    target_accuracy: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="The same, with the confidence from which on an --evaluation shows this accuracy.",
        ),
    ] = None
    evaluation: Annotated[
        Path | None,
        typer.Option(
            parser=local,
            metavar="FILE",
            help="What 'boatinfer evaluate --json' printed, for --target-accuracy.",
        ),
    ] = None
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

    engine: Annotated[
        Engine, typer.Option(help="Who does the work: this process, or a Ray cluster.")
    ] = Engine.LOCAL
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT; if not given, RAY_ADDRESS, or "
            "one of this machine alone.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Workers on the Ray cluster, of --threads (1) each; if not given, as many as fit.",
        ),
    ] = None

    @property
    def results_folder(self) -> Place:
        """Where the results go: ``out``, or a folder named after the scanned one."""
        return self.out or Path("boatinfer-out") / (resolved(self.folder).name or "root")

    @property
    def restrictions(self) -> list[str]:
        """What keeps the run from looking at the whole folder, as it is said on the command line.

        Without any, an image that the run does not find has gone.
        """
        said = [] if self.recursive else ["--no-recursive"]
        said += [f"--include {shlex.quote(to_text(pattern))}" for pattern in self.include]
        said += [f"--exclude {shlex.quote(to_text(pattern))}" for pattern in self.exclude]
        if self.from_file is not None:
            said.append(f"--from-file {shlex.quote(to_text(str(self.from_file)))}")
        return said if self.limit is None else [*said, f"--limit {self.limit}"]

    def __post_init__(self) -> None:
        """Takes text where a path is meant, as Python users write it."""
        for name in ("folder", "out", "model", "from_file"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, place(value))
        for name in ("svm", "evaluation"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, Path(value))
        object.__setattr__(self, "exclude", [pattern.rstrip("/") for pattern in self.exclude])
        for name, least, most in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(f"{name} must be from {least} to {most:,}, not {value}.")
        if self.shard is not None:
            Shard.parse(self.shard)
        _check_engine(self)
        object.__setattr__(self, "engine", Engine(self.engine))
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise UsageError(f"--min-confidence {self.min_confidence}: give a share from 0 to 1.")
        _check_target(self.target_accuracy)
        if self.min_confidence is not None and self.target_accuracy is not None:
            raise UsageError("--min-confidence and --target-accuracy both set a limit; give one.")
        if self.target_accuracy is not None and self.evaluation is None:
            raise UsageError(
                "--target-accuracy needs an --evaluation that shows how sure is sure enough; make "
                "one with 'boatinfer evaluate OUT --json > evaluation.json' on labelled images."
            )
        if self.evaluation is not None and self.target_accuracy is None:
            raise UsageError(
                "--evaluation is read for a --target-accuracy; give one, such as 0.99."
            )


def _check_engine(options: RunOptions) -> None:
    if options.engine not in set(Engine):
        raise UsageError(f"engine must be local or ray, not {options.engine}.")
    if options.engine == Engine.LOCAL and (options.ray_address or options.workers):
        raise UsageError("--ray-address and --workers need --engine ray.")


def _check_target(accuracy: float | None) -> None:
    if accuracy is not None and not 0 < accuracy < 1:
        raise UsageError(f"--target-accuracy {accuracy}: give a share between 0 and 1, as 0.99.")


@dataclass(frozen=True)
class FitOptions:
    """Options of `boatinfer.svm.fit.fit`; each field's help says what it does."""

    out: Annotated[
        Place,
        typer.Argument(parser=place, metavar="OUT", help="Results folder made with --features."),
    ]
    output: Annotated[
        Path,
        typer.Option("-o", "--output", parser=local, metavar="FILE", help="SVM file to write."),
    ] = Path("svm.joblib")
    kernel: Annotated[Kernel, typer.Option(help="Kernel of the SVM.")] = "rbf"
    penalty: Annotated[
        float,
        typer.Option("--C", min=1e-9, help="Penalty: a larger one fits the images closer."),
    ] = 1.0
    search: Annotated[
        bool,
        typer.Option("--search", help="Try values of C, and of RBF's gamma; take the best."),
    ] = False
    folds: Annotated[
        int, typer.Option(min=0, max=100, help="Folds of the cross-validation; 0 for none.")
    ] = 5
    class_weights: Annotated[
        Literal["none", "balanced"],
        typer.Option(help="balanced: a rare class's images count more, each class the same."),
    ] = "none"
    probability: Annotated[
        bool, typer.Option("--probability", help="Give probabilities as scores: calibrate them.")
    ] = False
    labels: Annotated[
        Path | None,
        typer.Option(
            parser=local,
            metavar="FILE",
            help="CSV file with the columns path and label; if not given, the folder that an "
            "image lies in is its class.",
        ),
    ] = None
    force: Force = False

    def __post_init__(self) -> None:
        """Refuses what is no number of its kind."""
        if not 0 < self.penalty < math.inf:
            raise UsageError(f"--C {self.penalty}: it must be a number above 0.")
        if not 0 <= self.folds <= 100:
            raise UsageError(f"--folds {self.folds}: it must be from 0 to 100.")


@dataclass(frozen=True)
class SVMCompareOptions:
    """Options of `boatinfer.svm.compare.compare`; each field's help says what it does."""

    out: Annotated[Path, typer.Argument(metavar="OUT", help="Results folder made with --features.")]
    test: Annotated[
        Place | None,
        typer.Option(
            parser=place,
            metavar="OUT",
            help="Results folder of other images to test on; if not given, OUT is cross-validated.",
        ),
    ] = None
    network: Annotated[
        bool, typer.Option("--network", help="Put the network itself beside the SVMs.")
    ] = False
    search: Annotated[
        bool, typer.Option("--search", help="Try values of C, and of RBF's gamma; take the best.")
    ] = False
    folds: Annotated[int, typer.Option(min=2, max=100, help="Folds of the cross-validation.")] = 5
    labels: Annotated[
        Path | None,
        typer.Option(
            parser=local,
            metavar="FILE",
            help="CSV file with the columns path and label, of OUT; if not given, the folder that "
            "an image lies in is its class.",
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", parser=local, metavar="FILE", help="Picture to draw, .png or .svg."
        ),
    ] = None
    force: Force = False


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
    labels: Annotated[
        Path | None,
        typer.Option(
            parser=local,
            metavar="FILE",
            help="CSV file with the columns path and label; if not given, the folder that an "
            "image lies in is its class.",
        ),
    ] = None
    target_accuracy: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Say from which confidence on the predictions are this accurate."
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuses an accuracy that is none."""
        _check_target(self.target_accuracy)


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
            parser=local,
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
        """Refuses a number that asks for nothing."""
        if self.k < 1:
            raise UsageError(f"k must be from 1, not {self.k}.")
