"""The options of a run."""

from __future__ import annotations

import enum
import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from boatinfer.errors import UsageError
from boatinfer.i18n import Choice
from boatinfer.isolation.supervisor import IMAGE_TIMEOUT
from boatinfer.memory import parse_size
from boatinfer.models.built_in import model_place
from boatinfer.options import (
    Device,
    Memory,
    ModelFile,
    OnDevice,
    PageLanguage,
    check_language,
    check_share,
    check_target,
    parse_share,
)
from boatinfer.results.location import default_out
from boatinfer.results.store.shards import Shard
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place
from boatinfer.text import to_text

__all__ = ["PANELS", "Engine", "RunOptions"]


#: The options in the panels of ``boatinfer run --help``.
PANELS = {
    "What to classify": [
        *("recursive", "include", "exclude", "from_file", "sniff", "system_folders", "limit"),
        *("lenient", "fresh", "allow_empty"),
    ],
    "Model": ["model", "svm", "device"],
    "Results": [
        *("out", "top", "features", "parquet", "xlsx"),
        *(
            "report",
            "title",
            "language",
            "link_prefix",
            "gallery",
            "max_failures",
            "fail_on_unusual",
        ),
    ],
    "Unsure and unknown images": ["max_novelty", "min_confidence", "target_accuracy", "evaluation"],
    "Speed and memory": ["batch_size", "threads", "memory", "image_timeout", "isolate"],
    "Several machines": ["shard", "engine", "ray_address", "workers", "endpoint"],
}


class Engine(enum.StrEnum):
    """Where a run does its work."""

    LOCAL = "local"
    RAY = "ray"


_KINDS: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(("folder", "out", "from_file"), place),
    "model": model_place,
    **dict.fromkeys(("svm", "evaluation"), Path),
    "memory": parse_size,
    **dict.fromkeys(("min_confidence", "max_novelty", "target_accuracy"), parse_share),
}

_BOUNDS = [
    ("top", 1, 10),
    ("batch_size", 1, 65_536),
    ("threads", 1, 1024),
    ("workers", 1, 65_536),
    ("limit", 1, sys.maxsize),
]


@dataclass(frozen=True)
class RunOptions:
    """Options of `boatinfer.pipeline.run.run`; each field's help says what it does."""

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
            help="Results folder, or its URI; by default boatinfer-out/ and the name of DIR.",
        ),
    ] = None
    model: ModelFile = None
    features: Annotated[
        bool, typer.Option("--features", help="Record the feature vector of each image.")
    ] = False
    svm: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also classify by this SVM, a file of 'boatinfer svm fit'."
        ),
    ] = None
    top: Annotated[
        int,
        typer.Option(
            min=1,
            max=10,
            help="Number of classes per image in predictions.csv, the most probable first.",
        ),
    ] = 2
    min_confidence: Annotated[
        float | None,
        typer.Option(
            parser=parse_share,
            metavar="SHARE",
            help="Confidence threshold, from 0 to 1: images below it are labelled 'unsure' and "
            "listed in review.csv.",
        ),
    ] = None
    max_novelty: Annotated[
        float | None,
        typer.Option(
            parser=parse_share,
            metavar="SHARE",
            help="Novelty limit, from 0 to 1: images above it, unlike anything in training, are "
            "labelled 'unknown'. By default that of the model, above which 1 % of its valid images "
            "are; 1 for no limit.",
        ),
    ] = None
    target_accuracy: Annotated[
        float | None,
        typer.Option(
            parser=parse_share,
            metavar="SHARE",
            help="Set the confidence threshold such that images above it had this accuracy in "
            "--evaluation.",
        ),
    ] = None
    evaluation: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Evaluation for --target-accuracy, printed by 'boatinfer evaluate --json'.",
        ),
    ] = None
    device: OnDevice = Device.AUTO
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images per batch; by default chosen by the image size."),
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads that decode and classify; by default one per usable CPU."
        ),
    ] = None
    memory: Memory = None
    image_timeout: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="Time limit for one image; an image that exceeds it twice is recorded as failed.",
        ),
    ] = IMAGE_TIMEOUT
    isolate: Annotated[
        bool,
        typer.Option(
            "--isolate/--no-isolate",
            help="Decode and classify in a separate process, so that an image that crashes it "
            "fails alone.",
        ),
    ] = True
    max_failures: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="New images that may fail, as a percentage or a number; with more, the exit "
            "code is 3.",
        ),
    ] = "5%"
    fail_on_unusual: Annotated[
        bool,
        typer.Option(
            "--fail-on-unusual", help="Exit code 9 if something about the run is unusual."
        ),
    ] = False
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Classify damaged JPEGs by the part that can be decoded."),
    ] = False

    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Classify all images again, including those already recorded."
        ),
    ] = False
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Endpoint of the S3 server; by default AWS_ENDPOINT_URL or Amazon's.",
        ),
    ] = None
    recursive: Annotated[
        bool, typer.Option("--recursive/--no-recursive", help="Include sub-folders.")
    ] = True
    include: Annotated[
        list[str],
        typer.Option(metavar="GLOB", help="Only files that match the pattern; may be repeated."),
    ] = field(default_factory=list)
    exclude: Annotated[
        list[str],
        typer.Option(
            metavar="GLOB", help="Skip files and folders that match the pattern; may be repeated."
        ),
    ] = field(default_factory=list)
    from_file: Annotated[
        Place | None,
        typer.Option(
            parser=place,
            metavar="LIST",
            help="Classify only the paths listed in this file (- for standard input), relative to "
            "DIR or absolute.",
        ),
    ] = None
    sniff: Annotated[
        bool | None,
        typer.Option(
            "--sniff/--no-sniff",
            help="Recognise images with unknown file extensions by their first bytes; by default "
            "on disks, not in buckets.",
        ),
    ] = None
    system_folders: Annotated[
        bool,
        typer.Option(
            "--system-folders/--no-system-folders",
            help="Include thumbnail and trash folders of NAS and desktop systems, such as @eaDir "
            "and $RECYCLE.BIN.",
        ),
    ] = False
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first N images, sorted by path.")
    ] = None
    allow_empty: Annotated[
        bool,
        typer.Option("--allow-empty", help="A folder without images is no error."),
    ] = False
    parquet: Annotated[
        bool,
        typer.Option(
            "--parquet/--no-parquet",
            help="Write predictions.parquet: all probabilities, and the features with --features.",
        ),
    ] = True
    xlsx: Annotated[
        bool,
        typer.Option(
            "--xlsx", help="Also write predictions.xlsx, a spreadsheet with links to the images."
        ),
    ] = False
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True
    title: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Title of report.html; by default names the folder."),
    ] = None
    language: PageLanguage = Choice.ENGLISH
    link_prefix: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Address of DIR for the links of report.html to images, where the page is served "
            "or mailed; by default links are relative.",
        ),
    ] = None
    gallery: Annotated[
        bool,
        typer.Option(
            "--gallery", help="Write a page of pictures of each class, beside the report."
        ),
    ] = False
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Classify only shard I of N; 'boatinfer results OUT --finish' merges them.",
        ),
    ] = None

    engine: Annotated[Engine, typer.Option(help="Run on this machine, or on a Ray cluster.")] = (
        Engine.LOCAL
    )
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT; by default RAY_ADDRESS, or a "
            "cluster of this machine alone.",
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Workers on the Ray cluster, each with --threads (1); by default as many as fit.",
        ),
    ] = None

    @property
    def results_folder(self) -> Place:
        """Where the results go: ``out``, or a folder named after the scanned one."""
        return self.out or default_out(self.folder)

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
        """Takes text where a path or a size is meant, as Python users write it."""
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, kind(value))
        _check_patterns(self)
        object.__setattr__(self, "exclude", [pattern.rstrip("/") for pattern in self.exclude])
        for name, least, most in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(f"{name} must be from {least} to {most:,}, not {value}.")
        if not 1 <= self.image_timeout < math.inf:  # NaN neither
            raise UsageError(f"--image-timeout {self.image_timeout}: give seconds, 1 at least.")
        if self.shard is not None:
            Shard.parse(self.shard)
        _check_engine(self)
        check_language(self.language)
        _check_link_prefix(self.link_prefix)
        object.__setattr__(self, "engine", Engine(self.engine))
        check_share("--min-confidence", self.min_confidence)
        check_share("--max-novelty", self.max_novelty)
        check_target(self.target_accuracy)
        if self.min_confidence is not None and self.target_accuracy is not None:
            raise UsageError(
                "--min-confidence and --target-accuracy both set the threshold; give one."
            )
        if self.target_accuracy is not None and self.evaluation is None:
            raise UsageError(
                "--target-accuracy needs an --evaluation to choose the threshold from; make one "
                "with 'boatinfer evaluate OUT --json > evaluation.json' on labelled images."
            )
        if self.evaluation is not None and self.target_accuracy is None:
            raise UsageError(
                "--evaluation is read for a --target-accuracy; give one, such as 0.99."
            )


def _check_patterns(options: RunOptions) -> None:
    """Refuses text, whose letters would each be a pattern."""
    for name in ("include", "exclude"):
        value = getattr(options, name)
        if isinstance(value, str):
            raise UsageError(f"{name} must be a list of patterns: {name}=[{value!r}].")


def _check_link_prefix(prefix: str | None) -> None:
    """Refuses addresses that are no web pages, files or paths, such as scripts."""
    if prefix is None:
        return
    try:
        scheme = urlsplit(prefix).scheme
    except ValueError:
        scheme = "none"
    if not prefix.strip() or scheme not in {"", "http", "https", "file"}:
        raise UsageError(
            f"--link-prefix {prefix}: give the address of DIR, such as https://server/images."
        )


def _check_engine(options: RunOptions) -> None:
    if options.engine not in set(Engine):
        raise UsageError(f"engine must be local or ray, not {options.engine}.")
    if options.engine == Engine.LOCAL and (options.ray_address or options.workers):
        raise UsageError("--ray-address and --workers need --engine ray.")
