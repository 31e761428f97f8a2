"""Arrays kept in files, so that what was slow to make is made once.

A cache folder holds, for each array, its rows (``NAME.raw``), what they were made from
(``NAME.json``) and a lock (``NAME.lock``). An array that was made from something else is
made again. The folder may be deleted at any time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt
import typer
import xxhash
from filelock import FileLock, Timeout

from boatinfer.errors import OutputError
from boatinfer.storage.documents import DocumentError, read_document
from boatinfer.storage.files import TEMPORARY_SUFFIX, atomic_write, translate_write_errors

__all__ = ["FOLDER", "Array", "Maker", "cache_folder", "kept", "require_room"]

#: Name of the cache folder inside the data; hidden, so nobody takes it for a class.
FOLDER = ".boatinfer-cache"

_FORMAT = 1

Array = npt.NDArray[Any]

#: Writes the rows of an array to a file, C-contiguous; returns what else shall be kept.
Maker = Callable[[BinaryIO], list[str]]


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``NAME.json`` says: format and origin, row count, the maker's notes."""

    format: int
    key: str
    rows: int
    notes: list[str]


def cache_folder(data: Path, chosen: Path | None = None) -> Path:
    """Finds where the arrays of some data are kept, and makes the folder.

    Args:
        data: the folder of images.
        chosen: the folder to take instead.

    Returns:
        ``chosen``, or ``DATA/.boatinfer-cache``, or where that may not be written a folder
        in the user's cache folder.

    Raises:
        OutputError: the folder cannot be made.
    """
    if chosen is None:
        beside = data / FOLDER
        if os.access(beside if beside.is_dir() else data, os.W_OK):
            chosen = beside
        else:
            from platformdirs import user_cache_path

            place = xxhash.xxh3_64_hexdigest(os.fsencode(data.resolve()))
            chosen = user_cache_path("boatinfer") / place
    with translate_write_errors(chosen):
        chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def kept(
    folder: Path,
    name: str,
    key: str,
    *,
    dtype: type[np.generic],
    shape: tuple[int, ...],
    most: int,
    make: Maker,
    agrees: Callable[[Array, list[str]], bool] = lambda *_: True,
) -> tuple[Array, list[str]]:
    """Gives an array from the cache, making it first where it is not there.

    Of two processes that want the same array, one makes it and the other waits.

    Args:
        folder: a `cache_folder`.
        name: names the files.
        key: says all that the array depends on; another key means another array.
        dtype: type of the numbers.
        shape: shape of one row.
        most: the most rows that there may be, for the room on disk.
        make: makes the array.
        agrees: whether an array found here is right, as far as that is quick to see.

    Returns:
        The array [rows, *shape], mapped into memory and read-only, and the notes.

    Raises:
        OutputError: the array cannot be written.
    """
    raw, about = folder / f"{name}.raw", folder / f"{name}.json"
    with translate_write_errors(raw):
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            typer.echo(f"waiting for another training, which is making {raw}", err=True)
            lock.acquire()
    try:
        found = _find(raw, about, key, dtype, shape)
        if found is not None and agrees(*found):
            return found
        about.unlink(missing_ok=True)  # from here on the rows are nobody's
        for leftover in folder.glob(f".{raw.name}.*{TEMPORARY_SUFFIX}"):
            leftover.unlink(missing_ok=True)
        row_bytes = int(np.dtype(dtype).itemsize * np.prod(shape))
        require_room(folder, most * row_bytes)
        with atomic_write(raw) as temporary:
            with temporary.open("wb", buffering=0) as file:
                notes = make(file)
            rows = temporary.stat().st_size // row_bytes
        with atomic_write(about) as temporary:
            temporary.write_bytes(msgspec.json.encode(_About(_FORMAT, key, rows, notes)))
        return _map(raw, dtype, (rows, *shape)), notes
    finally:
        lock.release()


def require_room(folder: Path, needed: int) -> None:
    """Refuses to begin what the disk has no room for.

    Raises:
        OutputError: fewer than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{folder} needs {needed / 1e9:,.1f} GB and the disk has {free / 1e9:,.1f} GB free; "
            "make room, give --cache a folder on a larger disk, or take a smaller --size."
        )


def _find(
    raw: Path, about: Path, key: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> tuple[Array, list[str]] | None:
    """Returns None for an array that is not there, damaged, or made from something else."""
    try:
        said = read_document(about, _About)
        if (said.format, said.key) != (_FORMAT, key):
            return None
        if raw.stat().st_size != said.rows * np.dtype(dtype).itemsize * np.prod(shape):
            return None
        return _map(raw, dtype, (said.rows, *shape)), said.notes
    except (OSError, DocumentError):
        return None


def _map(raw: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> Array:
    if 0 in shape:  # nothing can be mapped of an empty file
        return np.empty(shape, dtype)
    return np.memmap(raw, dtype, "r", shape=shape)
