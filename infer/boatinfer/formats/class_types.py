"""What a class is for camera traps: an animal, a human, a vehicle, or nothing."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from boatinfer.errors import UsageError
from boatinfer.results.tables.predictions import UNSURE

__all__ = ["TYPES", "ClassType", "ClassTypes"]

#: The types, as Camtrap DP calls them.
TYPES = ("animal", "human", "vehicle", "blank", "unknown")

#: Names of classes that tell their type; all others are animals.
_NAMES = {
    **dict.fromkeys(("human", "person", "people", "homo sapiens", "pedestrian"), "human"),
    **dict.fromkeys(("vehicle", "car", "truck", "bicycle", "motorcycle", "boat"), "vehicle"),
    **dict.fromkeys(("blank", "empty", "nothing", "background", "none"), "blank"),
    **dict.fromkeys(("unknown", "other", UNSURE), "unknown"),
}


class ClassType(NamedTuple):
    """The type of a class, one of `TYPES`, and its scientific name, which may be empty."""

    type: str
    scientific_name: str = ""


class ClassTypes:
    """The types of classes.

    Args:
        file: a CSV file with the columns ``label``, ``type`` and, if wanted, ``scientific_name``;
            None to know them by their names alone.

    Raises:
        UsageError: the file cannot be read.
    """

    def __init__(self, file: Path | None) -> None:
        self._given = {} if file is None else _read(file)

    def of(self, label: str) -> ClassType:
        """The type of a class."""
        known = self._given.get(label)
        return known or ClassType(_NAMES.get(label.casefold(), "animal"))


def _read(file: Path) -> dict[str, ClassType]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read ({error}); give a CSV file in UTF-8.") from error
    found = {}
    for number, row in enumerate(rows, 2):
        label, kind = row.get("label"), row.get("type")
        if not label or kind not in TYPES:
            raise UsageError(
                f"{file}, line {number}: give a label and its type, one of {', '.join(TYPES)}."
            )
        found[label] = ClassType(kind, row.get("scientific_name") or "")
    return found
