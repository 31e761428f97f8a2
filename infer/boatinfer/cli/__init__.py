"""The ``boatinfer`` command: parse, call, print; no logic.

Commands that need an extra live in other packages, which name them as entry points of
the group ``boatinfer.commands``; such a package is loaded when its command is used. The
name of one below a group of ours has a dot: ``model.quantize`` is ``boatinfer model quantize``.
"""

from __future__ import annotations

import atexit
import copy
import gc
import importlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

import boatinfer
from boatinfer.cli import analysis, commands, models
from boatinfer.cli.fields import from_fields
from boatinfer.cli.results import PANELS, ResultsCommand, results
from boatinfer.cli.review import review
from boatinfer.cli.streams import guard_standard_files, show_warnings
from boatinfer.errors import BoatinferError, UsageError, first_line, install_hint
from boatinfer.logs import Level, say
from boatinfer.review.options import ReviewOptions
from boatinfer.storage.errors import StoreError
from boatinfer.svm.options import FitOptions
from boatinfer.text import to_text

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

__all__ = ["app", "main"]

ENTRY_POINTS = "boatinfer.commands"

#: What the extra ``analysis`` brings, which is enough but for the groups that need TensorFlow.
_ANALYSIS_LIBRARIES = {"joblib", "matplotlib", "scipy", "sklearn"}
_TENSORFLOW_GROUPS = {"train", "export"}

#: Settings of libraries, which must stand before these are loaded.
_SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",  # numpy's threads take longer to start than they can save here
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # which gives memory back as soon as it is free
}


#: Groups of this package that are loaded when they are used, so that the others start sooner.
_LATER = {
    "doctor": "boatinfer.cli.doctor",
    "models": "boatinfer.cli.registry",
    "night": "boatinfer.cli.night",
}


class Commands(TyperGroup):
    """The commands of this package and, loaded on use, those of the extras.

    ``ctx`` is a context of the command-line library inside typer, whose type is private.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Names all commands, the extras' after our own."""
        inside = _path(ctx)
        names = (name.removeprefix(inside) for name in _extras().names if name.startswith(inside))
        own = [*super().list_commands(ctx), *([] if ctx.parent else _LATER)]
        return [*own, *sorted(name for name in names if "." not in name)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Finds a command here or, by its entry point, in another package."""
        command = super().get_command(ctx, cmd_name)
        if command is None and not ctx.parent and cmd_name in _LATER:
            command = get_command(importlib.import_module(_LATER[cmd_name]).app)
            command.name = cmd_name
        for entry in () if command else _extras(_path(ctx) + cmd_name):
            command = get_command(entry.load())
            command.name = cmd_name
        return command and _without_types(command)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; a missing extra becomes the line that installs it.

        Options that are missing are all named at once, not only the first.
        """
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if error.ctx is not None and not error.message:  # it has none where one is missing
                error.param_hint = _missing_options(error.ctx)
            raise
        except ModuleNotFoundError as error:
            name = f"{_path(ctx)}{ctx.invoked_subcommand}"
            enough = error.name in _ANALYSIS_LIBRARIES and name not in _TENSORFLOW_GROUPS
            if enough:  # the smallest extra that brings it
                raise _missing_extra(name, error, "analysis") from error
            for entry in _extras(name):
                raise _missing_extra(name, error, ",".join(entry.extras)) from error
            raise


def _without_types(command: Any) -> Any:
    """Leaves types such as ``<local_path>`` out of the help: metavars name arguments."""
    for inner in getattr(command, "commands", {}).values():
        _without_types(inner)
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            parameter.type = copy.copy(parameter.type)  # others may share it
            parameter.type.get_metavar = lambda param, ctx: ""
    return command


def _missing_options(ctx: Any) -> str:
    """Names what a command needs and was not given; what was given is handled first."""
    missing = [one for one in ctx.command.params if one.required and one.name not in ctx.params]
    return ", ".join(
        one.opts[-1] if one.opts[-1].startswith("-") else one.metavar or one.name.upper()
        for one in missing
    )


def _path(ctx: Any) -> str:
    """Where a group stands among the entry points: nothing for the root, else ``group.``."""
    return f"{ctx.info_name}." if ctx.parent else ""


def _extras(name: str | None = None) -> EntryPoints:
    """The commands of other packages, all or those of a name."""
    from importlib.metadata import entry_points  # slow to load, and most commands need none

    found = entry_points(group=ENTRY_POINTS)
    return found if name is None else found.select(name=name)


def _missing_extra(name: str, error: ModuleNotFoundError, extra: str) -> UsageError:
    return UsageError(
        f"'boatinfer {name.replace('.', ' ')}' needs {error.name}, which is not installed; "
        f"{install_hint(extra)}."
    )


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Classify folders of images every night, and prove that nothing was skipped.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"boatinfer {boatinfer.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


@app.command("help")
def _help(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="Command, such as run or model show."),
    ] = None,
) -> None:
    """Show the help of a command."""
    shown: Any = ctx.find_root()
    for name in names or []:
        find = getattr(shown.command, "get_command", lambda *_: None)
        command = find(shown, name)
        if command is None:
            raise UsageError(f"there is no command {' '.join(names or [])}; see 'boatinfer help'.")
        shown = type(shown)(command, info_name=name, parent=shown)
    typer.echo(shown.get_help(), color=ctx.color)


app.command("run")(from_fields(commands.RunCommand, commands.run, commands.PANELS))
app.command("classify")(commands.classify)
app.command("features")(commands.features)
app.command("results")(from_fields(ResultsCommand, results, PANELS))
app.command("report")(commands.report)
app.command("evaluate", cls=analysis.EvaluateParser)(
    from_fields(analysis.EvaluateCommand, analysis.evaluate)
)
app.command("similar")(from_fields(analysis.SimilarCommand, analysis.similar))
app.command("compare")(from_fields(analysis.CompareCommand, analysis.compare))
app.command("review")(from_fields(ReviewOptions, review))

model = typer.Typer(cls=Commands, no_args_is_help=True, help="Inspect and check model files.")
model.command("show")(models.show)
model.command("check")(models.check)
app.add_typer(model, name="model")

svm = typer.Typer(cls=Commands, no_args_is_help=True, help="Train and compare SVMs on features.")
svm.command("fit")(from_fields(FitOptions, commands.svm_fit))
svm.command("compare")(from_fields(analysis.SVMCompareCommand, analysis.svm_compare))
app.add_typer(svm, name="svm")


@svm.callback()
@model.callback()
def _group() -> None:
    """Keeps a group a group while it has one command."""


def main() -> None:
    """Runs the command line; an error of ours is one sentence and its exit code."""
    atexit.register(gc.freeze)  # all memory goes with the process: no need to look for garbage
    guard_standard_files()
    show_warnings()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of caches that are its own affair
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        if "" in sys.argv:
            raise UsageError("an argument is empty; is a variable not set?")
        try:
            app()
        finally:
            print(end="", flush=True)  # noqa: T201 (what is left, while it can still be told)
    except (BoatinferError, StoreError) as error:
        say(Level.ERROR, str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        reason = error.strerror or first_line(error)
        if isinstance(error.filename, str | bytes):
            sys.exit(_unusable(error.filename, reason))
        sys.exit(_refused(reason))
    except MemoryError:
        sys.exit(_refused("there is not enough memory"))
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            raise
        sys.exit(_refused(f"a library could not be loaded ({first_line(error)})"))
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        sys.exit(_refused("no more threads or processes may be started"))


def _refused(reason: str) -> int:
    """Says what the system refused that has no name, and gives the exit code."""
    say(
        Level.ERROR,
        f"the system refused something: {reason}; check the machine and its limits, and run again.",
    )
    return BoatinferError.exit_code


def _unusable(name: str | bytes, reason: str) -> int:
    """Says which file the system would not let us look at, and gives the exit code.

    What is read and written is refused where that is done; this is of what is only asked for: a
    folder that may not be entered, a name that is too long.
    """
    say(
        Level.ERROR,
        f"{to_text(os.fsdecode(name))} cannot be used: {reason}; check its name, and who may enter "
        "its folder.",
    )
    return UsageError.exit_code
