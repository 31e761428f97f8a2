"""``boatinfer night``: all folders of a file, every night."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from boatinfer.cli.pandas import without_pandas
from boatinfer.errors import OutputError
from boatinfer.logs import Level, LogFormat, say
from boatinfer.logs import use as use_format
from boatinfer.night.schedulers import NAME, Scheduler
from boatinfer.options import Force, LogFormatOption
from boatinfer.storage.locations import local_path
from boatinfer.text import counted, duration, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from boatinfer.night.config import Night
    from boatinfer.night.status import FolderStatus, Status

__all__ = ["app"]

#: The file of most users.
_FILE = Path("night.toml")

app = typer.Typer(
    cls=TyperGroup,
    no_args_is_help=True,
    add_completion=False,
    help="Run the folders of a file every night, and have the system start it.",
)

Config = Annotated[
    Path,
    typer.Option("-c", "--config", parser=local_path, metavar="FILE", help="Configuration file."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Only these folders; by default all."),
]


def _read(config: Path) -> Night:
    from boatinfer.night.config import read_night

    return read_night(config)


def _print_json(document: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


@app.command()
def init(config: Config = _FILE, force: Force = False) -> None:
    """Write a file with every key and what it means, and a JSON schema for editors."""
    from boatinfer.night.template import write_template

    schema = write_template(config, force)
    typer.echo(f"what a night is: {config}")
    typer.echo(f"for editors:     {schema}")


@app.command()
def schema() -> None:
    """Print the JSON schema of the file, with which editors complete it."""
    from boatinfer.night.schema import json_schema

    _print_json(json_schema())


@app.command()
@without_pandas
def run(
    names: Names = None,
    config: Config = _FILE,
    *,
    json: Json = False,
    quiet: Quiet = False,
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel",
            min=1,
            max=64,
            help="Folders that run at a time, and share processors and memory; by default what "
            "the file says, or 1.",
        ),
    ] = None,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run the folders, one after the other or several at a time; the worst gives the exit code."""
    from boatinfer.cli.night_output import Output
    from boatinfer.night.running import run_night

    use_format(log_format, quiet or json)
    night = _read(config)
    output = Output(night, quiet or json)
    result = run_night(night, names or [], output.folder_ended, parallel)
    output.ended(result)
    if json:
        _print_json(result)
    raise typer.Exit(result.exit_code or 0)


@app.command()
@without_pandas
def plan(names: Names = None, config: Config = _FILE, json: Json = False) -> None:
    """Say what a night would do, and write nothing."""
    from boatinfer.night.planning import plan_night
    from boatinfer.night.problems import find_night_problems
    from boatinfer.night.record import worst

    night = _read(config)
    said = list(plan_night(night, names or []))
    problems = find_night_problems(night)
    if json:
        _print_json(said)
    for folder in said if not json else ():
        if folder.forecast is not None:
            from boatinfer.cli.forecasts import forecast_in_words

            for line in forecast_in_words(folder.forecast):
                typer.echo(f"{printable(folder.name)}: {line}")
        else:
            error = printable(folder.error or "")
            typer.echo(f"boatinfer: {printable(folder.name)}: {error}", err=True)
    for problem in problems:
        say(Level.WARNING, f"warning: {problem}")
    if not json:
        typer.echo(f"{_total([folder.seconds for folder in said])}; nothing was written")
    raise typer.Exit(worst([folder.exit_code for folder in said]))


def _total(seconds: list[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    if not known:
        return "no earlier runs to estimate the time from"
    rest = len(seconds) - len(known)
    without = f", without {counted(rest, 'folder')} of unknown time" if rest else ""
    return f"estimated time of all: {duration(sum(known))}{without}"


@app.command()
@without_pandas
def status(config: Config = _FILE, json: Json = False) -> None:
    """Show how the last nights went and when the next starts; the exit code is for monitoring."""
    from boatinfer.night.status import night_status

    said = night_status(_read(config))
    if json:
        _print_json(said)
    else:
        for line in _status_in_words(said):
            typer.echo(line)
    raise typer.Exit(said.exit_code)


def _status_in_words(said: Status) -> Iterator[str]:
    from boatinfer.memory import format_size
    from boatinfer.night.installed import NOT_INSTALLED

    if said.missed:
        yield f"missed: the night that was due {_moment(said.missed)} did not start"
    if said.holder:
        yield f"goes on: {printable(said.holder)}"
    elif said.killed and said.started:
        yield f"killed: the night that started {_moment(said.started)} did not come to its end"
    started = _moment(said.started) if said.started else "none yet"
    yield f"last night: {started}"
    for sentence in (*said.earlier, *said.remarks):
        yield f"  {printable(sentence)}"
    yield f"next night: {_moment(said.next) if said.next else 'the file has no [schedule]'}"
    if said.installed is False:
        yield NOT_INSTALLED
    yield f"disk: {format_size(said.disk_free)} free"
    for folder in said.folders:
        yield from _folder_in_words(folder)


def _folder_in_words(folder: FolderStatus) -> Iterator[str]:
    from boatinfer.cli.night_output import exit_code
    from boatinfer.memory import format_size
    from boatinfer.night.record import figures

    name, last = printable(folder.name), folder.last
    size = "" if folder.disk_bytes is None else f", results of {format_size(folder.disk_bytes)}"
    if last is None:
        yield f"{name}: no night yet{size}"
    else:
        when = f" on {_moment(last.started)}" if last.started else ""
        yield f"{name}: exit code {exit_code(last)}{when}, {figures(last)}{size}"
        if last.error:
            yield f"  {printable(last.error)}"
        for sentence in last.unusual:
            yield f"  unusual: {printable(sentence)}"
    if folder.problem and not (last and last.error == folder.problem):
        yield f"  {printable(folder.problem)}"


def _moment(time: str) -> str:
    """A time as people read it, in the time zone of this machine."""
    return f"{datetime.fromisoformat(time).astimezone():%a %Y-%m-%d %H:%M}"


@app.command()
@without_pandas
def prune(
    names: Names = None,
    config: Config = _FILE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would go, and write nothing.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove old nights, and rows that no run needs, as the table keep of FILE says."""
    from boatinfer.cli.night_output import pruned_in_words
    from boatinfer.night.pruning import prune_night
    from boatinfer.night.record import worst

    told, failed = [], None
    try:
        for pruned in prune_night(_read(config), names or [], dry_run=dry_run):
            told.append(pruned)
            if pruned.error:
                say(Level.ERROR, f"{pruned.name}: {pruned.error}")
            if not (quiet or json) and (pruned.files or not pruned.error):
                for line in pruned_in_words(pruned, dry_run):
                    typer.echo(line)
    except OutputError as error:  # the page of all folders
        failed = error
    if json:
        _print_json(told)
    if failed is not None:
        raise failed
    raise typer.Exit(worst([pruned.exit_code for pruned in told]))


@app.command()
def notify(
    config: Config = _FILE,
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message; a ping URL gets a log entry.")
    ] = False,
) -> None:
    """Check who is told of a night, and with --test send each a message."""
    from boatinfer.night.notify.trial import try_targets

    failed = False
    for target, error in try_targets(_read(config), send=test):
        if error is None:
            typer.echo(f"{target.name}: {'told' if test else 'ready'} ({target.where})")
        else:
            failed = True
            say(Level.ERROR, error)
    raise typer.Exit(OutputError.exit_code if failed else 0)


System = Annotated[
    bool | None,
    typer.Option(
        "--system/--user",
        help="For the machine, run as the owner of FILE, or for this user; by default for the "
        "machine if root installs it.",
    ),
]
By = Annotated[
    Scheduler | None,
    typer.Option("--scheduler", help="What starts it; by default what this system has."),
]
Name = Annotated[str, typer.Option("--name", metavar="TEXT", help="Name of the job.")]


def _target(scheduler: Scheduler | None, name: str, system: bool | None) -> dict[str, Any]:
    by = scheduler or Scheduler.of_this_machine()
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    default = root and by in {Scheduler.SYSTEMD, Scheduler.LAUNCHD}
    return {"scheduler": by, "name": name, "system": default if system is None else system}


@app.command()
def install(
    config: Config = _FILE,
    scheduler: By = None,
    system: System = None,
    name: Name = NAME,
    print_: Annotated[
        bool, typer.Option("--print", help="Show what would be written, and write nothing.")
    ] = False,
) -> None:
    """Have the system start every night: a systemd timer, a cron line, or what else it has."""
    from boatinfer.night.install import files
    from boatinfer.night.install import install as install_night

    night, target = _read(config), _target(scheduler, name, system)
    if print_:
        for file, text in files(night, **target).items():
            typer.echo(f"# {file}\n{text}")
        return
    for sentence in install_night(night, **target):
        typer.echo(printable(sentence))


@app.command()
def uninstall(
    config: Config = _FILE, scheduler: By = None, system: System = None, name: Name = NAME
) -> None:
    """Remove what 'install' has written; results stay."""
    from boatinfer.night.install import uninstall as uninstall_night

    for sentence in uninstall_night(_read(config), **_target(scheduler, name, system)):
        typer.echo(printable(sentence))
