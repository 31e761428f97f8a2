"""``OUT/labels.csv``: what people have said of images, one line an answer, only ever appended to.

An answer is of a content, the xxh3-128 of the file, so that it stays with an image that is renamed
and ends with one that is changed. The last answer of a content counts; one with an empty label
withdraws what was said before. The file may be edited by hand or by a spreadsheet: its separator,
the order of its columns and further columns are kept.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from boatinfer.dataset.label_tables import UNLABELLED
from boatinfer.errors import OutputError
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors
from boatinfer.storage.locations import is_remote

__all__ = [
    "CANNOT_TELL",
    "LABELS",
    "NONE_OF_THESE",
    "RANDOM",
    "SEVERAL",
    "SPECIAL",
    "Answer",
    "LabelFile",
    "Reading",
    "is_class",
    "is_label_file",
    "is_special",
    "read_labels",
    "read_sampled",
]

#: Name of the file in a results folder.
LABELS = "labels.csv"
#: Answers that are no class; a class in parentheses cannot be given by hand.
NONE_OF_THESE, SEVERAL, CANNOT_TELL = "(none of these)", "(several)", "(cannot tell)"
SPECIAL = (NONE_OF_THESE, SEVERAL, CANNOT_TELL)
#: What is no class either, written by hand.
_NO_CLASS = UNLABELLED | {"skip"}
#: The reason of images that were chosen at random.
RANDOM = "random"

_CONTENT = re.compile(r"[0-9a-f]{32}")
#: What begins a formula in a spreadsheet, and an apostrophe that was put before it.
_FORMULA, _ESCAPED = re.compile(r"[=+\-@\t\r]"), re.compile(r"'[=+\-@\t\r]")
_SEPARATORS = ",;\t"
#: Seconds to wait for another process that is writing an answer.
_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """One line of labels.csv.

    Attributes:
        path: text of the image's path when it was answered, relative to the scanned folder.
        content: xxh3-128 of the image, hex.
        label: a class, one of `SPECIAL`, or nothing, which withdraws the answers before.
        by: who answered.
        when: time, ISO 8601.
        shown_label: the label that the model had given it.
        model: SHA-256 of the model file, hex.
        reason: why the image was asked for, as `boatinfer.review.order` names it.
    """

    path: str
    content: str
    label: str
    by: str = ""
    when: str = ""
    shown_label: str = ""
    model: str = ""
    reason: str = ""


_COLUMNS = [field.name for field in fields(Answer)]
_REQUIRED = {"path", "content", "label"}


class _Layout(NamedTuple):
    """How the file that is there is written."""

    columns: Sequence[str]
    separator: str

    def line(self, answer: Answer) -> str:
        """One line, with its end."""
        cells = dict(zip(_COLUMNS, map(_safe, _COLUMNS, astuple(answer)), strict=True))
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.separator)  # quotes what its line ends have
        writer.writerow([cells.get(name, "") for name in self.columns])
        return text.getvalue().removesuffix("\r\n") + "\n"


_OURS = _Layout(_COLUMNS, ",")


@dataclass(frozen=True)
class Reading:
    """What a labels.csv says.

    Attributes:
        answers: of each content that has a label the last answer, in the order of the lines.
        problems: sentences on lines that could not be understood.
    """

    answers: dict[str, Answer]
    problems: list[str]


class LabelFile:
    """The labels.csv of a results folder, of which several processes may append to.

    Args:
        out: the results folder, on a disk.

    Attributes:
        answers: `Reading.answers` as of the last `refresh` or `append`.
        problems: likewise.

    Raises:
        OutputError: the folder is in a bucket, or the file is no table of labels.
    """

    def __init__(self, out: Place) -> None:
        if is_remote(out):
            raise OutputError(
                f"{out} is in a bucket, where nothing can be appended to a file; copy the folder "
                "to a disk."
            )
        self.path = Path(str(out)) / LABELS
        self._lock = FileLock(str(self.path.with_name(f".{LABELS}.lock")), timeout=_LOCK_SECONDS)
        self._seen: object = None
        self.answers: dict[str, Answer] = {}
        self.problems: list[str] = []
        self.refresh()

    def refresh(self) -> bool:
        """Reads the file if it has changed; says whether it had.

        Raises:
            OutputError: it is no table of labels, or cannot be read.
        """
        state = _state(self.path)
        if state == self._seen:
            return False
        reading = read_labels(self.path)
        self.answers, self.problems, self._seen = reading.answers, reading.problems, state
        return True

    def append(self, answers: Sequence[Answer]) -> None:
        """Appends answers, all or none, and waits until they are on the disk.

        Raises:
            OutputError: the disk is full, or the file is no table of labels; it is as it was.
        """
        with self.locked(), translate_write_errors(self.path):
            known = _state(self.path) == self._seen
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o666)
            try:
                _append(handle, answers, self.path)
            finally:
                os.close(handle)
            state = _state(self.path)
        if known:  # nobody else has written: it need not be read again
            _apply(self.answers, answers)
            self._seen = state
        else:
            self.refresh()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from appending meanwhile; it may be nested.

        Raises:
            OutputError: another one holds the lock for too long.
        """
        try:
            with translate_write_errors(self.path):
                self._lock.acquire()
        except Timeout:
            raise OutputError(
                f"{self.path} is being written by another process; try again."
            ) from None
        try:
            yield
        finally:
            self._lock.release()


_BINARY = getattr(os, "O_BINARY", 0)


def _append(handle: int, answers: Sequence[Answer], path: Path) -> None:
    """Writes lines with one call; a file that cannot take them whole is cut to what it was."""
    size = os.fstat(handle).st_size
    with os.fdopen(os.dup(handle), "rb") as file:
        before = file.read()
    layout, mended = _layout(before, path), ""
    if not before.strip():
        mended = layout.line(_HEADER)
    else:
        mended = _end_of_half_a_line(before, layout.separator)
    data = (mended + "".join(map(layout.line, answers))).encode()
    try:
        written = os.write(handle, data)
        while written < len(data):  # the rest tells why
            written += os.write(handle, data[written:])
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise


def _end_of_half_a_line(before: bytes, separator: str) -> str:
    """What makes half a line, which a kill or a full disk has left, a line of its own."""
    ended = before.endswith((b"\n", b"\r"))
    if ended and not before.count(b'"') % 2:
        return ""
    end = "" if ended else "\n"
    text = before.decode("utf-8-sig") + end + "end\n"
    *_, last = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return end if last == ["end"] else '"\n'  # else it is within quotes


_HEADER = Answer(*_COLUMNS)


def is_special(label: str) -> bool:
    """Whether a label is one of `SPECIAL`, in any case and with or without its parentheses."""
    return _folded(label) in {_folded(special) for special in SPECIAL}


def is_class(label: str) -> bool:
    """Whether a label names a class that a training can learn."""
    return not is_special(label) and _folded(label) not in _NO_CLASS


def _folded(label: str) -> str:
    return label.strip().strip("()").casefold()


def is_label_file(path: Path) -> bool:
    """Whether a table is one of answers, by its columns; False where it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return set(_split(file.readline())[0]) >= {*_REQUIRED, "by", "when", "reason"}
    except OSError:
        return False


def read_labels(path: Place) -> Reading:
    """Reads a labels.csv, also one that was edited by hand.

    Args:
        path: the file; where there is none, there are no answers.

    Raises:
        OutputError: it cannot be read, or is no table of labels.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Reading({}, [])
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}; check it.") from error
    layout = _layout(data, path)
    answers: dict[str, Answer] = {}
    bad = []
    for number, cells in _rows(data, layout.separator):
        answer = _answer(dict(zip(layout.columns, cells, strict=False)))
        if answer is None or len(cells) < len(layout.columns):
            bad.append(number)
        else:
            _apply(answers, [answer])
    return Reading(answers, [_problem(path, bad)] if bad else [])


def read_sampled(path: Path) -> set[str]:
    """The contents of which any answer was about a random sample; otherwise as `read_labels`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}; check it.") from error
    layout = _layout(data, path)
    rows = (
        dict(zip(layout.columns, cells, strict=False)) for _, cells in _rows(data, layout.separator)
    )
    answers = filter(None, map(_answer, rows))
    return {answer.content for answer in answers if answer.reason.strip() == RANDOM}


def _apply(known: dict[str, Answer], answers: Iterable[Answer]) -> None:
    for answer in answers:
        known.pop(answer.content, None)
        if answer.label:
            known[answer.content] = answer


def _rows(data: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows under the header with their numbers, blank ones left out.

    Excel leaves out empty cells at the end of a row, and ends it with CR LF; half a line of ours,
    which a kill has left, has no CR.
    """
    lines, last = io.StringIO(data.decode("utf-8-sig"), newline=""), ""

    def read() -> Iterator[str]:
        nonlocal last
        for line in lines:
            last = line
            yield line

    reader = csv.reader(read(), delimiter=separator)
    try:
        columns = len(next(reader, []))
        for cells in reader:
            if any(cell.strip() for cell in cells):
                missing = columns - len(cells) if last.endswith("\r\n") else 0
                yield reader.line_num, cells + [""] * missing
    except csv.Error:  # a cell of 128 KiB, which only an open quote makes
        yield reader.line_num, []


def _answer(cells: dict[str, str]) -> Answer | None:
    """The answer of a row; None if it is none."""
    values = {name: _plain(name, cells.get(name, "")) for name in _COLUMNS}
    values["content"] = values["content"].strip().lower()
    values["label"] = values["label"].strip()
    return Answer(**values) if _CONTENT.fullmatch(values["content"]) else None


def _layout(data: bytes, path: Place) -> _Layout:
    """The layout of a file by its header; ours for an empty one."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OutputError(
            f"{path} is not UTF-8; save it as CSV in UTF-8, or put back an older copy."
        ) from None
    if not text.strip():
        return _OURS
    columns, separator = _split(text.splitlines()[0])
    missing = sorted(_REQUIRED - set(columns))
    if missing:
        raise OutputError(
            f"{path} has no column {missing[0]} in its first line; it must begin with "
            f"{','.join(_COLUMNS)}."
        )
    return _Layout(columns, separator)


def _split(header: str) -> tuple[list[str], str]:
    """The names of the columns, and what separates them."""
    separator = next((mark for mark in _SEPARATORS if mark in header), ",")
    cells = next(csv.reader([header.rstrip("\r\n")], delimiter=separator), [])
    return [cell.strip() for cell in cells], separator


def _safe(name: str, text: str) -> str:
    """Text in which a spreadsheet sees no formula, as in predictions.csv."""
    if not _FORMULA.match(text):
        return text
    return f"./{text}" if name == "path" else f"'{text}"


def _plain(name: str, text: str) -> str:
    if name == "path":
        return text.removeprefix("./")
    return text[1:] if _ESCAPED.match(text) else text


def _problem(path: Place, lines: Sequence[int]) -> str:
    named = ", ".join(map(str, lines[:5])) + (" and others" if len(lines) > 5 else "")
    many = len(lines) > 1
    return (
        f"{path}: line{'s' * many} {named} could not be understood and {'are' if many else 'is'} "
        "left out; a line needs all columns, and in content 32 hexadecimal digits."
    )


def _state(path: Path) -> object:
    """Changes when the file does; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
