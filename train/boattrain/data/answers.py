"""Reads the answers of a review: ``labels.csv`` in a results folder, one row an answer."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from boatinfer.errors import UsageError
from boatinfer.results.labels import RANDOM, SPECIAL

__all__ = ["Answer", "read_answers"]

_COLUMNS = ("path", "content", "label", "by", "when", "shown_label", "model", "reason")
#: Answers that name no class, without parentheses and in any case; an empty one withdraws a label.
_NO_CLASS = {label.strip("()") for label in SPECIAL} | {"", "skip", "unsure"}
_DIGEST = re.compile(r"[0-9a-f]{32}")


class Answer(NamedTuple):
    """The last answer about an image.

    Attributes:
        path: path of the image below the scanned folder.
        content: xxh3-128 of its content, in hex.
        label: the class; empty if the answer names none.
        is_random: whether one of its answers was about a random sample.
    """

    path: str
    content: str
    label: str
    is_random: bool


def read_answers(file: Path) -> list[Answer]:
    """Reads the last answer about each content, sorted by content.

    A last line that was cut off is not taken.

    Raises:
        UsageError: it cannot be read, or is no file of answers.
    """
    answers: dict[str, Answer] = {}
    for number, row in enumerate(_read_rows(file), 2):
        content = row["content"].strip().lower()
        if not _DIGEST.fullmatch(content):
            raise UsageError(
                f"{file}, row {number:,}: {row['content']!r} is not the hash of an image; repair "
                "or remove the row."
            )
        label = re.sub(r"^'(?=[=+\-@\t\r])", "", row["label"].strip())
        known = answers.get(content)
        is_random = row["reason"].strip() == RANDOM or (known is not None and known.is_random)
        label = "" if label.strip("()").casefold() in _NO_CLASS else label
        answers[content] = Answer(row["path"], content, label, is_random)
    return [answers[content] for content in sorted(answers)]


def _read_rows(file: Path) -> list[dict[str, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        delimiter = next((mark for mark in ",;\t" if mark in text.partition("\n")[0]), ",")
        lines = io.StringIO(text, newline="")
        reader = csv.DictReader(lines, delimiter=delimiter, strict=text.endswith("\n"))
        rows, names = list(reader), reader.fieldnames or []
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check its name.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} is no file of answers: {error}; repair it.") from None
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise UsageError(
            f"{file} has no column {missing[0]}; give the labels.csv that a review wrote, with the "
            f"columns {','.join(_COLUMNS)}."
        )
    if rows and not text.endswith("\n") and None in rows[-1].values():
        rows.pop()
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UsageError(
                f"{file}, row {number:,} has not as many cells as the first; repair it."
            )
    return rows
