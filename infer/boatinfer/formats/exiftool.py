"""Writes keywords into images with ExifTool, a program that is installed beside boatinfer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from boatinfer.errors import UsageError

__all__ = ["replace_keywords", "require_exiftool"]

_PROGRAM = "exiftool"
#: Lists of keywords in which a label stands, once.
_LISTS = ("XMP-dc:Subject", "XMP-lr:HierarchicalSubject")
_UPDATED = re.compile(rb"^\s*(\d+) image files? updated", re.M)


def require_exiftool(option: str) -> None:
    """Checks that ExifTool is there.

    Raises:
        UsageError: it is not.
    """
    if shutil.which(_PROGRAM) is None:
        raise UsageError(
            f"{option} needs ExifTool, which is not installed; install it from your system "
            "(libimage-exiftool-perl) or from exiftool.org."
        )


def replace_keywords(
    files: Iterable[tuple[Path, str | None]], earlier: Collection[str]
) -> tuple[int, int]:
    """Gives each of some files its keyword; other metadata, and the file's time, stay.

    Args:
        files: a file and its keyword; None for no keyword.
        earlier: keywords that are removed first.

    Returns:
        How many were written, and how many could not be.
    """
    count = 0
    with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "arguments"
        with listed.open("wb") as arguments:
            for file, keyword in files:
                count += 1
                arguments.write(b"\n".join(map(_line, _arguments(file, keyword, earlier))) + b"\n")
        command = [_PROGRAM, "-@", str(listed)]
        subprocess.run(command, stdout=output, stderr=subprocess.DEVNULL, check=False)
        output.seek(0)
        updated = sum(int(match[1]) for line in output for match in _UPDATED.finditer(line))
    return updated, count - updated


def _arguments(file: Path, keyword: str | None, earlier: Collection[str]) -> list[bytes]:
    added = [] if keyword is None else [keyword]
    changes = [f"-{name}-={old}" for name in _LISTS for old in dict.fromkeys([*earlier, *added])]
    changes += [f"-{name}+={new}" for name in _LISTS for new in added]
    options = ["-charset", "filename=utf8", "-overwrite_original", "-P", *changes]
    return [*map(str.encode, options), os.fsencode(file.absolute()), b"-execute"]


def _line(argument: bytes) -> bytes:
    """A line of an argument file; one with line breaks is written as in C."""
    if b"\n" not in argument and b"\r" not in argument:
        return argument
    escaped = argument.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return b"#[CSTR]" + escaped
