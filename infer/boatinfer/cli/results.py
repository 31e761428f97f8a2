"""``boatinfer results``: what a results folder holds, and its results in other formats."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boatinfer.cli.commands import end_with, print_files, print_summary
from boatinfer.cli.pandas import without_pandas
from boatinfer.errors import OutputError, UsageError
from boatinfer.formats import FORMATS
from boatinfer.formats.options import ExportOptions
from boatinfer.storage.base import Place
from boatinfer.storage.locations import local_path, place
from boatinfer.text import counted, printable

if TYPE_CHECKING:
    from boatinfer.results.folder import Results

__all__ = ["PANELS", "ResultsCommand", "results"]

#: Nights that are listed, at most.
_NIGHTS = 14


@dataclass(frozen=True, kw_only=True)
class ResultsCommand(ExportOptions):
    """What ``boatinfer results`` takes."""

    out: Annotated[Place, typer.Argument(parser=place, metavar="OUT", help="Results folder.")] = (
        Path()
    )
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read all data in full, and name damaged files."),
    ] = False
    finish: Annotated[
        bool,
        typer.Option("--finish", help="Merge the shards of a run, and write tables and page."),
    ] = False
    moved: Annotated[
        Place | None,
        typer.Option(
            parser=place,
            metavar="DIR",
            help="New location of the folder of images; later runs over it continue these results.",
        ),
    ] = None
    force: Annotated[
        bool, typer.Option("--force", help="Accept --moved DIR even if the images are not in it.")
    ] = False
    json: Annotated[
        bool,
        typer.Option("--json", help="Print all nights as JSON; with --finish, run.json."),
    ] = False
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help=f"Write the results for another tool, with -o: {', '.join(FORMATS)}.",
        ),
    ] = None
    undo: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            metavar="FOLDER",
            help="Remove what --to folders has made in FOLDER, and nothing else.",
        ),
    ] = None


#: The panels of ``boatinfer results --help``.
PANELS = {
    "Formats of other tools": ["to", *(field.name for field in fields(ExportOptions)), "undo"],
}


@without_pandas
def results(command: ResultsCommand) -> None:
    """Show a results folder and its nights, verify it, finish a run in shards, or export it."""
    if command.to is not None or command.undo is not None:
        _refuse_others(command)
        _export(command)
    elif command.output is not None or any(command.special().values()) or command.overwrite:
        raise UsageError("these options need a format; give it with --to.")
    elif command.moved is not None:
        from boatinfer.results.find import find_results
        from boatinfer.results.moving import relocate

        out = find_results(command.out).out
        typer.echo(printable(relocate(out, command.moved, command.force)))
    elif command.finish:
        _finish(command.out, command.verify, command.json)
    else:
        _show(command.out, command.verify, command.json)


def _refuse_others(command: ResultsCommand) -> None:
    """Refuses what --to and --undo do not do."""
    first = "--undo" if command.to is None else "--to"
    for name in ("finish", "verify", "moved", "undo", "json", "force"):
        if getattr(command, name) and f"--{name}" != first:
            raise UsageError(f"{first} and --{name} do not go together; give one of them.")


def _export(command: ResultsCommand) -> None:
    """Writes the results in a format, or takes that back."""
    if command.undo is not None:
        from boatinfer.formats.folders import undo

        typer.echo(printable(undo(command.undo)))
        return
    from boatinfer.formats import export
    from boatinfer.results.reader import read_results

    written = export(command.out, command.to or "", command)
    where = command.output or read_results(command.out).summary.folder  # into the images
    typer.echo(f"{counted(written.images, 'image')}: {printable(str(where))}")
    for remark in written.remarks:
        typer.echo(printable(remark))


def _finish(out: Place, verify: bool, json: bool) -> None:
    from boatinfer.pipeline.merge_shards import finish as finish_shards
    from boatinfer.results.find import find_results

    summary = finish_shards(out)
    if verify:
        _refuse_damage(find_results(out))
    if json:
        typer.echo(summary.text(), nl=False)
        end_with(summary, out)
    print_summary(summary)
    print_files(out, summary, (out / "report.html").exists())
    if verify:
        typer.echo(_verified(complete=True))
    end_with(summary, out)


def _show(out: Place, verify: bool, json: bool) -> None:
    from boatinfer.results.find import find_results
    from boatinfer.results.nights import nights_json

    folder = find_results(out)
    if verify:
        _refuse_damage(folder)
    if json:
        folder.require()
        typer.echo(nights_json(folder))
    else:
        _print_status(folder, verify)


def _print_status(folder: Results, verified: bool) -> None:
    """Prints what a results folder holds, and the latest nights."""
    from boatinfer.results.nights import nights, nights_table
    from boatinfer.results.status import folder_status

    held = folder_status(folder)
    for name, value in held.items():
        typer.echo(f"{name:<11} {printable(value)}")
    latest = nights(folder, _NIGHTS)
    if latest:
        typer.echo(
            "\nnights, the latest first" + (" (all: --json)" if len(latest) == _NIGHTS else "")
        )
        for line in nights_table(latest):
            typer.echo(line)
    if verified:
        typer.echo(_verified(complete="found" in held))


def _refuse_damage(folder: Results) -> None:
    """Reads everything; names what is damaged, and ends, if anything is."""
    from boatinfer.results.integrity import find_damage

    damaged = list(find_damage(folder))
    for sentence in damaged:
        typer.echo(f"boatinfer: {sentence}", err=True)
    if damaged:
        raise typer.Exit(OutputError.exit_code)


def _verified(complete: bool) -> str:
    whole = "; the last complete run has all its rows, and the tables are as it wrote them"
    return f"verified: every part is whole{whole if complete else ''}"
