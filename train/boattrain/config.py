"""Options of a training in a TOML file: instead of flags, and written by every training.

A key is a flag without its dashes in front, such as ``batch-size``.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from boatinfer.errors import UsageError
from boattrain.options import TrainOptions

__all__ = ["Configured", "to_toml"]

#: Flags that say how this one run is done, not what is trained.
_PASSING = {"config", "force", "help", "resume"}

#: The key that says what a file is for; a file without it is for all trainings.
_COMMAND = "command"


def _take_values(context: typer.Context, path: Path | None) -> Path | None:
    """Lets the file's values stand where no flag does."""
    if path is not None:
        known = {p.name for p in context.command.params if p.name} - _PASSING
        values = _read(path, known, f"train {context.info_name}")
        context.default_map = {**(context.default_map or {}), **values}
    return path


@dataclass(frozen=True)
class Configured:
    """Gives a command the flag ``--config``."""

    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Take values from this file where no flag gives them.",
            is_eager=True,
            callback=_take_values,
        ),
    ] = None


def to_toml(options: TrainOptions, command: str) -> str:
    """Writes the options so that ``--config`` gives them again.

    Args:
        options: of one training.
        command: its command, which alone takes the file.
    """
    import tomli_w

    values = {
        field.name.replace("_", "-"): str(value) if isinstance(value, Path) else value
        for field in dataclasses.fields(options)
        if (value := getattr(options, field.name)) is not None and field.name not in _PASSING
    }
    head = f"# boatinfer {command} --force --config THIS_FILE repeats this training.\n"
    return head + tomli_w.dumps({_COMMAND: command, **values})


def _read(path: Path, known: set[str], wanted: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"--config {path} is no TOML: {error}.") from error
    command = values.pop(_COMMAND, wanted)
    if command != wanted:
        raise UsageError(f"--config {path} is of 'boatinfer {command}', not of '{wanted}'.")
    found = {key.replace("-", "_"): value for key, value in values.items()}
    flags = sorted(key.replace("_", "-") for key in known)
    for key in sorted(key.replace("_", "-") for key in found.keys() - known):
        similar = difflib.get_close_matches(key, flags)
        hint = f"did you mean {' or '.join(similar)}?" if similar else f"it has {', '.join(flags)}."
        raise UsageError(f"--config {path}: this command has no option {key}; {hint}")
    for key, value in found.items():
        if not isinstance(value, str | int | float):
            raise UsageError(f"--config {path}: {key} must be a text, a number, true or false.")
    return found
