"""The ``boatinfer data`` commands."""

from __future__ import annotations

import contextlib
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from boatinfer.cli.fields import from_fields
from boatinfer.dataset.splits import VALID
from boatinfer.errors import RunInterruptedError
from boatinfer.text import counted
from boattrain.data.options import CheckOptions, DownloadOptions, ShowOptions, SplitOptions

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Bring, look at, check and split labelled images.",
)


def _download(options: DownloadOptions) -> None:
    """Download and unpack an archive of labelled images, zip or tar.

    What has come is kept when the connection breaks, and the same command goes on from
    there. Members of the archive that would leave the folder are refused.
    """
    from boattrain.data.download import download

    with _interruptible("what has come is kept, and the same command goes on from there"):
        files = download(options)
    typer.echo(f"unpacked {counted(files, 'file')}: {options.output}")
    typer.echo(f"see what they are with: boatinfer data check {shlex.quote(str(options.output))}")


@dataclass(frozen=True)
class CheckCommand(CheckOptions):
    """What ``boatinfer data check`` takes: the check's options, and how to tell the outcome."""

    most: Annotated[
        int, typer.Option(min=0, help="How many files to name for each thing found.")
    ] = 10
    json: Annotated[bool, typer.Option("--json", help="Print all that was found as JSON.")] = False


def _check(command: CheckCommand) -> None:
    """Check labelled images before a training: counts, broken and odd files, duplicates.

    Exit code 3 says that something would break or falsify a training, such as a picture
    that is in train and in valid.
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


def _show(options: ShowOptions) -> None:
    """Draw a batch of images with their classes, as a network gets them.

    With --augment or any of its amounts, the same images are changed as in a training.
    """
    from boattrain.data.show import show

    with _interruptible("no picture was written"):
        batch = show(options)
    typer.echo(f"{counted(len(batch.names), 'image')} of {options.split}: {options.output}")


def _split(options: SplitOptions) -> None:
    """Split a folder of class folders into train/, valid/ and, with --test, test/.

    Each split gets its share of every class; images of the same content stay together. The
    same images and seed are always split in the same way. SRC is only read.
    """
    from boattrain.data.split import split
    from boattrain.data.summary import print_counts

    with _interruptible("nothing was made"):
        result = split(options)
    print_counts(result.classes, result.counts)
    if result.without_valid:
        names = ", ".join(map(repr, result.without_valid))
        typer.echo(
            f"boatinfer: {names}: too few different images for one in {VALID}; training will ask "
            "for more.",
            err=True,
        )
    typer.echo(f"wrote {options.output}")


@contextlib.contextmanager
def _interruptible(left: str) -> Iterator[None]:
    """Ends with one sentence on Ctrl-C; ``left`` says what is there now."""
    try:
        yield
    except KeyboardInterrupt:
        raise RunInterruptedError(f"interrupted; {left}.", signal.SIGINT) from None


app.command("download")(from_fields(DownloadOptions, _download))
app.command("check")(from_fields(CheckCommand, _check))
app.command("show")(from_fields(ShowOptions, _show))
app.command("split")(from_fields(SplitOptions, _split))
