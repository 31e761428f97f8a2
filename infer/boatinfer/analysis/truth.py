"""What the images really show: their class folders, or a table that somebody wrote."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from boatinfer.errors import UsageError
from boatinfer.results.tables.csv_files import csv_plain
from boatinfer.results.tables.predictions import UNSURE

__all__ = ["true_labels"]

#: Labels that name no class: what nobody looked at in a copy of predictions.csv or review.csv.
_NOTHING = ["", UNSURE]


def true_labels(paths: pa.Array, labels: Path | None, folder: str) -> pa.Array:
    """The true class of each image.

    Args:
        paths: string [N], relative to the scanned folder.
        labels: a table as `from_table` reads it; None takes the class folders.
        folder: the scanned folder, absolute.

    Returns:
        string [N], null where nothing is known.

    Raises:
        UsageError: the table cannot be used.
    """
    return from_folders(paths) if labels is None else from_table(labels, paths, folder)


def from_folders(paths: pa.Array) -> pa.Array:
    """The name of the folder that each image lies in; null for those that lie in none."""
    inside = pc.replace_substring_regex(paths, r"(?s)^(?:.*/)?([^/]+)/[^/]*$", r"\1")
    return pc.if_else(pc.match_substring(paths, "/"), inside, None)


def from_table(file: Path, paths: pa.Array, folder: str) -> pa.Array:
    """What a CSV file with the columns ``path`` and ``label`` says of each image.

    Paths are relative to the scanned folder or absolute; the separator is a comma, a
    semicolon or a tab; other columns, empty labels and ``unsure`` say nothing.

    Raises:
        UsageError: it cannot be read, names no image of the results, or one image twice.
    """
    table = _read(file)
    named = pc.replace_substring_regex(table["path"], r"^(\./)+", "")
    inside = folder.rstrip("/") + "/"
    absolute = pc.starts_with(named, inside)
    named = pc.if_else(absolute, pc.utf8_slice_codeunits(named, len(inside)), named)
    said = pa.table({"path": named, "label": csv_plain(table["label"])})
    said = said.filter(pc.invert(pc.is_in(said["label"], pa.array(_NOTHING))))
    if len(named) and not said.num_rows:
        raise UsageError(
            f"{file} labels nothing yet: the labels of all its rows are empty or {UNSURE!r}; write "
            "the true classes in their place."
        )
    said = said.group_by(["path", "label"]).aggregate([])
    _refuse_twice(said, file)
    places = pc.index_in(paths, value_set=said["path"].combine_chunks())
    if places.null_count == len(places):
        first = f" (it names {named[0].as_py()!r}, they {paths[0].as_py()!r})" if len(named) else ""
        raise UsageError(
            f"{file} labels none of the images in the results{first}; its paths must be those of "
            "predictions.csv."
        )
    return said["label"].combine_chunks().take(places)


def _read(file: Path) -> pa.Table:
    text = pa.string()
    try:
        with file.open(encoding="utf-8-sig") as opened:
            header = opened.readline()
        delimiter = next((mark for mark in ",;\t" if mark in header), ",")
        return pa.csv.read_csv(
            os.fspath(file),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                include_columns=["path", "label"], column_types={"path": text, "label": text}
            ),
        )
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check its name.") from error
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise UsageError(
            f"{file} is no table of labels: {_why(error)}; it must be a CSV file in UTF-8 with the "
            "columns path and label."
        ) from error


def _why(error: Exception) -> str:
    """What is wrong with a table, by what its reader stumbled over."""
    said = str(error)
    if isinstance(error, UnicodeDecodeError) or "UTF8" in said:
        return "it is not UTF-8"
    if isinstance(error, KeyError):
        return "a column is missing"
    if "Empty CSV" in said:
        return "it is empty"
    return "its lines are not all of the same columns"


def _refuse_twice(said: pa.Table, file: Path) -> None:
    counts = said.group_by("path").aggregate([("label", "count")])
    twice = counts.filter(pc.greater(counts["label_count"], 1))
    if twice.num_rows:
        raise UsageError(
            f"{file} gives {twice['path'][0].as_py()!r} two different labels; leave one of them."
        )
