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

import typer

from boatinfer.errors import UsageError
from boatinfer.isolation.supervisor import IMAGE_TIMEOUT
from boatinfer.memory import parse_size
from boatinfer.options import Device, Memory, ModelFile, OnDevice, check_target
from boatinfer.results.location import default_out
from boatinfer.results.store.shards import Shard
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place
from boatinfer.text import to_text

__all__ = ["Engine", "RunOptions"]


class Engine(enum.StrEnum):
    """Where a run does its work."""

    LOCAL = "local"
    RAY = "ray"


_KINDS: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(("folder", "out", "model", "from_file"), place),
    **dict.fromkeys(("svm", "evaluation"), Path),
    "memory": parse_size,
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
            help="Results folder, or its URI; if not given, boatinfer-out/ and the name of DIR.",
        ),
    ] = None
    model: ModelFile = None
    features: Annotated[
        bool, typer.Option("--features", help="Keep each image's feature vector.")
    ] = False
    svm: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add the labels of this SVM, a file of 'svm fit'."),
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
            metavar="FILE",
            help="What 'boatinfer evaluate --json' printed, for --target-accuracy.",
        ),
    ] = None
    device: OnDevice = Device.AUTO
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images in a batch; if not given, by the image size.")
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Worker threads; if not given, one for each usable CPU."),
    ] = None
    memory: Memory = None
    image_timeout: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="Time limit for one image; it is tried twice, then it counts as failed.",
        ),
    ] = IMAGE_TIMEOUT
    isolate: Annotated[
        bool,
        typer.Option(
            "--isolate/--no-isolate",
            help="Whether to decode and classify in a worker process, so that an image that "
            "crashes it fails alone.",
        ),
    ] = True
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
            help="Take the paths in this file (- is standard input), not all; relative to DIR, "
            "or absolute.",
        ),
    ] = None
    sniff: Annotated[
        bool | None,
        typer.Option(
            "--sniff/--no-sniff",
            help="Whether to look into files of unknown endings, which may be images; if not "
            "given, on disks but not in buckets.",
        ),
    ] = None
    system_folders: Annotated[
        bool,
        typer.Option(
            "--system-folders/--no-system-folders",
            help="Whether to enter thumbnail and trash folders of NAS and desktop systems, such "
            "as @eaDir and $RECYCLE.BIN.",
        ),
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
        Engine, typer.Option(help="Where to run: on this machine, or on a Ray cluster.")
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
        object.__setattr__(self, "engine", Engine(self.engine))
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise UsageError(f"--min-confidence {self.min_confidence}: give a share from 0 to 1.")
        check_target(self.target_accuracy)
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


def _check_patterns(options: RunOptions) -> None:
    """Refuses text, whose letters would each be a pattern."""
    for name in ("include", "exclude"):
        value = getattr(options, name)
        if isinstance(value, str):
            raise UsageError(f"{name} must be a list of patterns: {name}=[{value!r}].")


def _check_engine(options: RunOptions) -> None:
    if options.engine not in set(Engine):
        raise UsageError(f"engine must be local or ray, not {options.engine}.")
    if options.engine == Engine.LOCAL and (options.ray_address or options.workers):
        raise UsageError("--ray-address and --workers need --engine ray.")
