"""Options that several commands share; the others are beside the code that uses them.

Every option is declared once, for Python and the command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boatinfer.errors import UsageError
from boatinfer.i18n import Choice
from boatinfer.logs import LogFormat
from boatinfer.memory import parse_size
from boatinfer.models.built_in import model_place
from boatinfer.models.device import Device
from boatinfer.storage.base import Place
from boatinfer.storage.locations import local_path

__all__ = [
    "Device",
    "Force",
    "GroupBy",
    "Labels",
    "LogFormatOption",
    "Memory",
    "ModelFile",
    "OnDevice",
    "PageLanguage",
    "Table",
    "check_language",
    "check_share",
    "check_target",
    "parse_share",
]

#: For every command that writes one file.
Force = Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")]


#: For every command that runs a model.
ModelFile = Annotated[
    Place | None,
    typer.Option(
        "-m",
        "--model",
        parser=model_place,
        metavar="FILE",
        help="Model file or its URI, or boats, the built-in model; by default boats.",
    ),
]
OnDevice = Annotated[Device, typer.Option(help="Device that runs the network.")]

#: For every command that writes pages.
PageLanguage = Annotated[
    Choice,
    typer.Option("--language", help="Language of pages; auto takes that of the system."),
]

#: For every command that reads many images.
Memory = Annotated[
    int | None,
    typer.Option(
        parser=parse_size,
        metavar="SIZE",
        help="Memory limit, such as 4G: images that need more fail, and large ones are decoded "
        "one after the other; by default three quarters of the memory available.",
    ),
]

#: For every command that needs to know the true classes.
Labels = Annotated[
    Path | None,
    typer.Option(
        parser=local_path,
        metavar="FILE",
        help="Ground truth: CSV file with the columns path and label; by default an image's class "
        "is the name of its folder.",
    ),
]

#: For every command that takes labelled images.
Table = Annotated[
    Path | None,
    typer.Option(
        "--table",
        parser=local_path,
        metavar="FILE",
        help="Take the images and classes from this CSV file instead of from folders: columns path "
        "(relative to DATA, or absolute) and label, and optionally split and group.",
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="day|folder|content|COLUMN|REGEX",
        help="Keep images that belong together in one split: of one day (the date in the path), "
        "of one sub-folder, of one value of a column of --table, or of one match of a regular "
        "expression in the path. Near duplicates stay together too; content keeps only these.",
    ),
]


def parse_share(text: str | float) -> float:
    """Parses a share of 1: ``0.8``, ``0,8`` and ``80%`` are the same.

    Raises:
        UsageError: it is no number.
    """
    number = str(text).strip().replace(",", ".")
    try:
        return float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise UsageError(f"{text} is no share; give a number such as 0.8.") from None


def check_share(option: str, share: float | None) -> None:
    """Refuses a share that is not from 0 to 1."""
    if share is not None and not 0 <= share <= 1:
        raise UsageError(f"{option} {share:g}: give a share from 0 to 1{_meant(share)}.")


def check_target(accuracy: float | None) -> None:
    """Refuses a --target-accuracy that is not between 0 and 1."""
    if accuracy is not None and not 0 < accuracy < 1:
        meant = _meant(accuracy) or ", as 0.99"
        raise UsageError(f"--target-accuracy {accuracy:g}: give a share between 0 and 1{meant}.")


def _meant(share: float) -> str:
    """What was meant by a percentage."""
    return f" (did you mean {share / 100:g}?)" if 2 <= share <= 100 else ""


def check_language(language: str) -> None:
    """Refuses a language that there is no catalogue of.

    Raises:
        UsageError: there is none.
    """
    if language not in set(Choice):
        raise UsageError(f"language must be one of {', '.join(Choice)}, not {language}.")


LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        help="Write standard error as text, or as lines of JSON that also tell of start and end; "
        "nothing else is printed then.",
    ),
]
