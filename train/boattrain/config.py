"""Training options in a TOML file: read with ``--config``, and written by every training.

The keys are the options without the leading dashes, such as ``batch-size``.
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

__all__ = ["ConfigOption", "to_toml"]

#: Options that are not stored: they concern a single run and not what is trained.
_NOT_STORED = {"config", "force", "help", "resume"}

#: Flags that are no names of fields, because they are words of Python.
_FLAGS = {"from_model": "from"}

#: Key of the command that the file is for; a file without it is for every training command.
_COMMAND_KEY = "command"


def _load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Makes the values of the file the defaults of the command."""
    if path is not None:
        names = {p.name for p in context.command.params if p.name} - _NOT_STORED
        values = _read(path, names, f"train {context.info_name}")
        context.default_map = {**(context.default_map or {}), **values}
    return path


@dataclass(frozen=True)
class ConfigOption:
    """Adds the option ``--config`` to a command."""

    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="TOML file with options; those on the command line take precedence.",
            is_eager=True,
            callback=_load_config,
        ),
    ] = None


def to_toml(options: TrainOptions, command: str) -> str:
    """Writes options as a file for ``--config``.

    Args:
        options: options of a training.
        command: the only command that accepts the file, such as ``train cnn``.

    Returns:
        The content of the TOML file.
    """
    import tomli_w

    values = {
        _key(field.name): str(value) if isinstance(value, Path) else value
        for field in dataclasses.fields(options)
        if (value := getattr(options, field.name)) is not None and field.name not in _NOT_STORED
    }
    head = f"# boatinfer {command} --force --config THIS_FILE repeats this training.\n"
    return head + tomli_w.dumps({_COMMAND_KEY: command, **values})


def _key(field: str) -> str:
    """The key of a field: the flag without its dashes."""
    return _FLAGS.get(field, field).replace("_", "-")


def _read(path: Path, names: set[str], command: str) -> dict[str, Any]:
    """Reads a file; ``names`` are the parameters of the command."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"--config {path} is not valid TOML: {error}.") from error
    file_command = document.pop(_COMMAND_KEY, command)
    if file_command != command:
        raise UsageError(f"--config {path} is for 'boatinfer {file_command}', not for '{command}'.")
    fields = {flag: name for name, flag in _FLAGS.items()}
    values = {fields.get(key, key).replace("-", "_"): v for key, v in document.items()}
    keys = sorted(_FLAGS.get(name, name).replace("_", "-") for name in names)
    for key in sorted(name.replace("_", "-") for name in values.keys() - names):
        similar = difflib.get_close_matches(key, keys)
        hint = (
            f"did you mean {' or '.join(similar)}?"
            if similar
            else f"its options are {', '.join(keys)}."
        )
        raise UsageError(f"--config {path}: this command has no option {key}; {hint}")
    for key, value in values.items():
        if not isinstance(value, str | int | float):
            raise UsageError(f"--config {path}: {key} must be a string, a number, true or false.")
    return values
