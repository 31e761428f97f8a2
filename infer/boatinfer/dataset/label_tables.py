"""Tables of labelled images: CSV files with the columns ``path,label[,split][,group]``."""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from boatinfer.dataset.splits import SPLITS, split_name
from boatinfer.errors import UsageError

__all__ = [
    "GROUP",
    "UNLABELLED",
    "LabelTable",
    "column_names",
    "read_label_table",
    "read_path_list",
]

#: The column that is taken for the group of each image if no other is asked for.
GROUP = "group"
#: Labels that say nothing: of images that nobody has looked at, in a copy of review.csv.
UNLABELLED = frozenset({"", "unsure", "unknown"})


class LabelTable(NamedTuple):
    """The labelled rows of a table, in its order, each path once.

    Attributes:
        paths: as they are written, but normalized: without ``./`` and ``x/../``.
        labels: class names.
        splits: train, valid or test of each; None if the table has no splits.
        columns: all columns, by name; ``path`` and ``label`` too.
    """

    paths: list[str]
    labels: list[str]
    splits: list[str] | None
    columns: Mapping[str, list[str]]


def read_label_table(file: Path) -> LabelTable:
    """Reads a table: a CSV file in UTF-8, its columns separated by comma, semicolon or tab.

    Raises:
        UsageError: it cannot be read or used.
    """
    rows = _read_rows(file, ("path", "label"))
    labelled: dict[str, dict[str, str]] = {}
    for row in rows:
        row["path"] = posixpath.normpath(row["path"])
        row["label"] = re.sub(r"^'(?=[=+\-@\t\r])", "", row["label"])
        if row["label"].casefold() in UNLABELLED:
            continue
        known = labelled.setdefault(row["path"], row)
        if known["label"] != row["label"]:
            raise UsageError(f"{file} gives {row['path']!r} two different labels; keep one.")
    if not labelled:
        raise UsageError(f"{file} labels no image; fill its column label.")
    kept = list(labelled.values())
    columns = {name: [row[name] for row in kept] for name in kept[0]}
    return LabelTable(
        columns["path"], columns["label"], _splits(file, columns.get("split")), columns
    )


def read_path_list(file: Path) -> list[str]:
    """The column ``path`` of a table such as `read_label_table` reads, without ``./``.

    Raises:
        UsageError: it cannot be read or used.
    """
    return [posixpath.normpath(row["path"]) for row in _read_rows(file, ("path",))]


def column_names(file: Path) -> list[str]:
    """The names of the columns of a table such as `read_label_table` reads.

    Raises:
        UsageError: it cannot be read.
    """
    return _read(file, ("path", "label"), whole=False)[1]


def _read_rows(file: Path, required: Sequence[str]) -> list[dict[str, str]]:
    rows, names = _read(file, required)
    for name in required:
        if name not in names:
            raise _unusable(file, f"it has no column {name}", required)
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise _unusable(file, f"row {number:,} has not as many cells as the first", required)
    return [
        {name: cell if name == "path" else cell.strip() for name, cell in row.items()}
        for row in rows
    ]


def _read(
    file: Path, required: Sequence[str], whole: bool = True
) -> tuple[list[dict[str, str]], list[str]]:
    """The rows, if the whole file is read, and the names of the columns."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            header = opened.readline()
            delimiter = next((mark for mark in ",;\t" if mark in header), ",")
            opened.seek(0)
            reader = csv.DictReader(opened, delimiter=delimiter, strict=True)
            names = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = names
            return list(reader) if whole else [], names
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check its name.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _unusable(file, f"{error}", required) from None


def _unusable(file: Path, reason: str, required: Sequence[str]) -> UsageError:
    what, columns = "table of labels", "columns path and label"
    if "label" not in required:
        what, columns = "list of images", "column path"
    return UsageError(
        f"{file} is no {what}: {reason}; it must be a CSV file in UTF-8 with the {columns}."
    )


def _splits(file: Path, column: list[str] | None) -> list[str] | None:
    if column is None or not any(column):
        return None
    splits = [split_name(text) for text in column]
    for text, split in zip(column, splits, strict=True):
        if split is None:
            raise UsageError(
                f"{file} has the split {text!r}; write {', '.join(SPLITS)} in every row, or leave "
                "the column out."
            )
    return [split for split in splits if split]
