"""The ``boatinfer data`` commands."""

from __future__ import annotations

import contextlib
import shlex
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from boatinfer.cli.fields import from_fields
from boatinfer.dataset.splits import TEST, TRAIN, VALID
from boatinfer.errors import RunInterruptedError
from boatinfer.text import counted, printable
from boattrain.data.options import (
    AuditOptions,
    BuildOptions,
    CheckOptions,
    DownloadOptions,
    ShowOptions,
    SplitOptions,
)
from boattrain.messages import messages_on_stderr

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Download, check, show and split labelled images.",
)


@messages_on_stderr()
def _download(options: DownloadOptions) -> None:
    """Download and unpack a zip or tar archive of labelled images.

    An interrupted download is kept, and the same command resumes it. Archives with members
    outside of the folder are rejected.
    """
    from boattrain.data.download import download

    with _interruptible("the download so far is kept, and the same command resumes it"):
        files = download(options)
    typer.echo(f"unpacked {counted(files, 'file')}: {options.output}")
    typer.echo(f"check the images with: boatinfer data check {shlex.quote(str(options.output))}")


@dataclass(frozen=True)
class CheckCommand(CheckOptions):
    """Options of ``boatinfer data check``: those of the check, and of its output."""

    most: Annotated[
        int,
        typer.Option(min=0, metavar="INTEGER", help="Files to list for each finding, at most."),
    ] = 10
    json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False


@messages_on_stderr()
def _check(command: CheckCommand) -> None:
    """Check labelled images before training: counts, unreadable and odd files, duplicates.

    The exit code is 3 if a finding would break a training or make its metrics wrong, such as an
    image that is in both train/ and valid/.
    """
    from boattrain.data.check import check
    from boattrain.data.summary import print_report

    with _interruptible("nothing was changed"):
        report = check(command)
    if command.json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        print_report(report, command.most)
    raise typer.Exit(report.exit_code)


@messages_on_stderr()
def _show(options: ShowOptions) -> None:
    """Draw a grid of random images with their classes, at the input size of a network.

    With --augment or augmentation options, the images are augmented as in training.
    """
    from boattrain.data.show import show

    with _interruptible("no image was written"):
        grid = show(options)
    typer.echo(f"{counted(len(grid.names), 'image')} of {options.split}: {options.output}")


@messages_on_stderr()
def _split(options: SplitOptions) -> None:
    """Split a folder of class folders into train/, valid/ and, with --test, test/.

    The split is stratified by class; images with the same content stay in the same split. The
    same images and seed always give the same split. SRC is not changed.
    """
    from boattrain.data.split import split
    from boattrain.data.summary import print_counts

    with _interruptible("nothing was written"):
        result = split(options)
    print_counts(result.classes, result.counts)
    if result.without_valid:
        names = ", ".join(map(repr, result.without_valid))
        typer.echo(
            f"boatinfer: {names}: too few different images for one in {VALID}; training needs "
            "more.",
            err=True,
        )
    typer.echo(f"wrote {options.output}")


@messages_on_stderr()
def _audit(options: AuditOptions) -> None:
    """List the labelled images whose label is hardest to believe.

    Near duplicates with different labels come first, then labels that the other images speak
    against, and outliers of their class. DATA is not changed.
    """
    from boattrain.data.audit import audit

    with _interruptible("nothing was written"):
        result = audit(options)
    reasons = Counter(suspect.reason for suspect in result.suspects)
    typer.echo(
        f"{result.images:,} images; listed: near duplicates with different labels "
        f"{reasons['near_duplicate']:,}, labels that the other images speak against "
        f"{reasons['label']:,} of {result.disagreeing:,}, outliers {reasons['outlier']:,}"
    )
    for file in (options.output, options.page):
        if file is not None:
            typer.echo(f"wrote {file}")


@messages_on_stderr()
def _build(options: BuildOptions) -> None:
    """Add the answers of a review to labelled images, for the next training.

    The last answer about an image counts; answers that name no class are left out. A part of the
    labelled images, and all of the random sample, are held back in test/. DATA is not changed.
    """
    from boattrain.data.build import build
    from boattrain.data.summary import print_counts

    with _interruptible("nothing was written"):
        result = build(options)
    print_counts(result.classes, result.counts)
    typer.echo(
        f"added {counted(result.added, 'image')}, {result.held_back:,} of them held back in "
        f"{TEST}; corrected {result.corrected:,} of the base"
    )
    for name in result.untrained:
        typer.echo(
            f"boatinfer: {TRAIN} has no image of {printable(name)}: those labelled are of "
            f"the random sample, or belong to images of {VALID} or {TEST}; label more of it "
            "before a training.",
            err=True,
        )
    left_out = [
        (
            result.without_class,
            "answer is 'none of these', 'several' or 'cannot tell', and is left out",
            "answers are 'none of these', 'several' or 'cannot tell', and are left out",
        ),
        (
            result.dropped,
            "image of the base is left out, for its last answer is one of these",
            "images of the base are left out, for their last answer is one of these",
        ),
        (
            result.gone,
            "labelled image is gone or cannot be read",
            "labelled images are gone or cannot be read",
        ),
        (
            result.changed,
            "labelled image has changed since",
            "labelled images have changed since",
        ),
        (
            result.sample_in_base,
            "labelled image of the random sample is in train or valid of the base",
            "labelled images of the random sample are in train or valid of the base",
        ),
        (
            result.seen,
            "image held back as random looks like one of train or valid",
            "images held back as random look like one of train or valid",
        ),
    ]
    for count, one, many in left_out:
        if count:
            typer.echo(f"boatinfer: {count:,} {one if count == 1 else many}.", err=True)
    typer.echo(f"wrote {options.output}")


@contextlib.contextmanager
def _interruptible(outcome: str) -> Iterator[None]:
    """Turns Ctrl-C into an error message that ends with ``outcome``."""
    try:
        yield
    except KeyboardInterrupt:
        raise RunInterruptedError(f"interrupted; {outcome}.", signal.SIGINT) from None


app.command("download")(from_fields(DownloadOptions, _download))
app.command("check")(from_fields(CheckCommand, _check))
app.command("show")(from_fields(ShowOptions, _show))
app.command("audit")(from_fields(AuditOptions, _audit))
app.command("build")(from_fields(BuildOptions, _build))
app.command("split")(from_fields(SplitOptions, _split))
