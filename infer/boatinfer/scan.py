r"""A folder to the list of image files in it, with nothing left out silently.

Hidden files and folders are skipped, and so is the results folder. Links to files and
folders are followed; a link back to a folder that contains it is not walked again. A
folder that may not be listed becomes an entry of its own (its path ends in ``/``), which
the run records as a failure.

A path is stored as text, relative and with ``/``. A name that is not valid UTF-8 keeps
its stray bytes as ``\xNN`` (and doubles its backslashes), so every name has exactly one
text and `from_text` gives the name back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from boatinfer.errors import UsageError

__all__ = ["IMAGE_EXTENSIONS", "Found", "from_text", "scan", "to_text"]

#: Endings that count as images, in lower case.
IMAGE_EXTENSIONS = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)


class Found(NamedTuple):
    """One file as the listing saw it.

    Attributes:
        path: text of the path relative to the scanned folder; ends in ``/`` for a folder
            that could not be listed.
        bytes: size; -1 where it could not be told.
        mtime_ns: time of the last change, nanoseconds since 1970; -1 likewise.
    """

    path: str
    bytes: int
    mtime_ns: int


def scan(folder: Path, skip: Path | None = None) -> Iterator[Found]:
    """Lists all image files below a folder, sorted within each folder.

    Args:
        folder: where to start.
        skip: a folder that is not entered: the results folder, should it lie inside.

    Yields:
        One `Found` per image file, or per folder that could not be listed.

    Raises:
        UsageError: ``folder`` is missing, is no folder, or cannot be listed.
    """
    try:
        identity = _identity(folder.stat())
        entries = _entries(folder)
    except FileNotFoundError:
        raise UsageError(f"the folder {folder} does not exist; check the name.") from None
    except NotADirectoryError:
        raise UsageError(
            f"{folder} is not a folder; for single images use 'boatinfer classify'."
        ) from None
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be listed: {error.strerror}.") from error
    skipped = _identity(skip.stat()) if skip is not None and skip.exists() else None
    yield from _walk(entries, "", [identity], skipped)


def _walk(
    entries: list[os.DirEntry[str]],
    prefix: str,
    above: list[tuple[int, int]],
    skipped: tuple[int, int] | None,
) -> Iterator[Found]:
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = prefix + entry.name
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link in a ring
            is_folder = False
        if is_folder:
            yield from _enter(entry, path, above, skipped)
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_EXTENSIONS:  # noqa: PTH122
            yield _found(entry, path)


def _enter(
    entry: os.DirEntry[str],
    path: str,
    above: list[tuple[int, int]],
    skipped: tuple[int, int] | None,
) -> Iterator[Found]:
    try:
        identity = _identity(entry.stat())
        if identity == skipped or identity in above:
            return
        entries = _entries(entry)
    except OSError:
        yield Found(to_text(path) + "/", -1, -1)
        return
    yield from _walk(entries, path + "/", [*above, identity], skipped)


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _found(entry: os.DirEntry[str], path: str) -> Found:
    try:
        status = entry.stat()
    except OSError:  # a dangling link, or gone since; reading it will tell
        return Found(to_text(path), -1, -1)
    return Found(to_text(path), status.st_size, status.st_mtime_ns)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def to_text(path: str) -> str:
    """Turns a path as the system gives it into text that any file format can hold."""
    raw = os.fsencode(path)
    try:
        if "\\x" not in raw.decode():
            return path
    except UnicodeDecodeError:
        pass
    return raw.replace(b"\\", b"\\\\").decode(errors="backslashreplace")


def from_text(text: str) -> str:
    """Turns the text of a path back into the path; undoes `to_text`."""
    if "\\x" not in text:
        return text
    raw = re.sub(
        rb"\\(\\|x[0-9a-f]{2})",
        lambda match: b"\\" if match[1] == b"\\" else bytes([int(match[1][1:], 16)]),
        text.encode(),
    )
    return os.fsdecode(raw)
