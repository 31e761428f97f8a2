"""The command lines of a night: that of the night itself, and those of its runs."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable
from pathlib import Path

from boatinfer.night.keys import folder_keys
from boatinfer.pipeline.options import RunOptions

__all__ = ["PYTHON", "arguments", "night_command", "prune_command", "run_command"]

#: This Python, which looks for modules in no folder of the user's (-P).
PYTHON = [sys.executable, "-P", "-m", "boatinfer"]


def night_command(file: Path) -> list[str]:
    """The command that a scheduler starts."""
    return [*PYTHON, "night", "run", "--quiet", "--config", str(file)]


def prune_command(file: Path, names: Iterable[str]) -> list[str]:
    """The command that removes what is not to be kept, and prints errors alone."""
    return [*PYTHON, "night", "prune", "--quiet", "--config", str(file), "--", *names]


def run_command(options: RunOptions) -> list[str]:
    """The command that runs one folder, and prints its summary as JSON."""
    return [*PYTHON, "run", "--json", "--quiet", "--log-format=json", *arguments(options)]


def arguments(options: RunOptions) -> list[str]:
    """What is to be written after ``boatinfer run`` for these options."""
    said: list[str] = []
    for key in folder_keys().values():
        value = getattr(options, key.field, key.default)
        if value == key.default:
            continue
        if isinstance(value, bool):
            said.append(f"--{'' if value else 'no-'}{key.name}")
        elif isinstance(value, list):
            said += [f"--{key.name}={one}" for one in value]
        else:
            text = value.value if isinstance(value, enum.Enum) else value
            said.append(f"--{key.name}={text}")
    return [*said, "--", str(options.folder)]
