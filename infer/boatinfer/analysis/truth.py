"""The ground truth: the class folders of the images, or a table of labels."""

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

#: Labels that are not classes: unreviewed rows in a copy of predictions.csv or review.csv.
_UNLABELLED = ["", UNSURE]


def true_labels(paths: pa.Array, labels: Path | None, folder: str) -> pa.Array:
    """The true class of each image.

    Args:
        paths: string [N], relative to the scanned folder.
        labels: a table as `from_table` reads it; None means the class folders.
        folder: the scanned folder, absolute.

    Returns:
        string [N], null where the true class is unknown.

    Raises:
        UsageError: the table cannot be used.
    """
    return from_folders(paths) if labels is None else from_table(labels, paths, folder)


def from_folders(paths: pa.Array) -> pa.Array:
    """The name of the folder that each image is in; null for images at the top."""
    folder_names = pc.replace_substring_regex(paths, r"(?s)^(?:.*/)?([^/]+)/[^/]*$", r"\1")
    return pc.if_else(pc.match_substring(paths, "/"), folder_names, None)


def from_table(file: Path, paths: pa.Array, folder: str) -> pa.Array:
    """The true class of each image from a CSV file with the columns ``path`` and ``label``.

    Paths are relative to the scanned folder or absolute; the separator is a comma, a
    semicolon or a tab; other columns, empty labels and ``unsure`` are ignored.

    Raises:
        UsageError: it cannot be read, names no image of the results, or one image twice.
    """
    table = _read(file)
    label_paths = pc.replace_substring_regex(table["path"], r"^(\./)+", "")
    prefix = folder.rstrip("/") + "/"
    absolute = pc.starts_with(label_paths, prefix)
    label_paths = pc.if_else(
        absolute, pc.utf8_slice_codeunits(label_paths, len(prefix)), label_paths
    )
    labelled = pa.table({"path": label_paths, "label": csv_plain(table["label"])})
    labelled = labelled.filter(pc.invert(pc.is_in(labelled["label"], pa.array(_UNLABELLED))))
    if len(label_paths) and not labelled.num_rows:
        raise UsageError(
            f"{file} holds no labels: those of all its rows are empty or {UNSURE!r}; replace them "
            "by the true classes."
        )
    labelled = labelled.group_by(["path", "label"]).aggregate([])
    _require_unique(labelled, file)
    indices = pc.index_in(paths, value_set=labelled["path"].combine_chunks())
    if indices.null_count == len(indices):
        example = ""
        if len(label_paths):
            example = f" (it has {label_paths[0].as_py()!r}, they {paths[0].as_py()!r})"
        raise UsageError(
            f"{file} labels none of the images in the results{example}; its paths must be those of "
            "predictions.csv."
        )
    return labelled["label"].combine_chunks().take(indices)


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
            f"{file} is no table of labels: {_reason(error)}; it must be a CSV file in UTF-8 with "
            "the columns path and label."
        ) from error


def _reason(error: Exception) -> str:
    """The reason why a table cannot be read, from the reader's error."""
    message = str(error)
    if isinstance(error, UnicodeDecodeError) or "UTF8" in message:
        return "it is not UTF-8"
    if isinstance(error, KeyError):
        return "a column is missing"
    if "Empty CSV" in message:
        return "it is empty"
    return "its lines are not all of the same columns"


def _require_unique(labelled: pa.Table, file: Path) -> None:
    counts = labelled.group_by("path").aggregate([("label", "count")])
    ambiguous = counts.filter(pc.greater(counts["label_count"], 1))
    if ambiguous.num_rows:
        raise UsageError(
            f"{file} gives {ambiguous['path'][0].as_py()!r} two different labels; keep one of them."
        )
