"""A cache on disk for arrays that are slow to compute.

For each array the cache folder holds the rows (``NAME.raw``), a key of what they were computed
from (``NAME.json``) and a lock (``NAME.lock``). An array with another key is computed again.
The folder may be deleted at any time.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash
from filelock import FileLock, Timeout

from boatinfer.errors import OutputError
from boatinfer.storage.documents import DocumentError, read_document
from boatinfer.storage.files import TEMPORARY_SUFFIX, atomic_write, translate_write_errors

__all__ = [
    "CACHE_FOLDER",
    "Array",
    "RowWriter",
    "cache_folder",
    "cached_array",
    "require_disk_space",
]

#: Name of the cache folder in the data folder; hidden, so that it is not taken for a class.
CACHE_FOLDER = ".boatinfer-cache"

_FORMAT = 1

_log = logging.getLogger(__name__)

Array = npt.NDArray[Any]

#: Writes the rows of an array to a file, C-contiguous; returns notes to store with them.
RowWriter = Callable[[BinaryIO], list[str]]


class _ArrayInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of ``NAME.json``: format version, key, number of rows, and notes."""

    format: int
    key: str
    rows: int
    notes: list[str]


def cache_folder(data: Path, chosen: Path | None = None) -> Path:
    """Returns the cache folder of a data folder, and creates it.

    Args:
        data: the data folder.
        chosen: a folder to use instead of the default.

    Returns:
        ``chosen``, else ``DATA/.boatinfer-cache``, or if that is not writable a folder in the
        user's cache folder.

    Raises:
        OutputError: the folder cannot be created.
    """
    if chosen is None:
        in_data = data / CACHE_FOLDER
        if os.access(in_data if in_data.is_dir() else data, os.W_OK):
            chosen = in_data
        else:
            from platformdirs import user_cache_path

            data_hash = xxhash.xxh3_64_hexdigest(os.fsencode(data.resolve()))
            chosen = user_cache_path("boatinfer") / data_hash
    with translate_write_errors(chosen):
        chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def cached_array(
    folder: Path,
    name: str,
    key: str,
    *,
    dtype: type[np.generic],
    shape: tuple[int, ...],
    max_rows: int,
    write_rows: RowWriter,
    is_valid: Callable[[Array, list[str]], bool] = lambda *_: True,
) -> tuple[Array, list[str]]:
    """Returns an array from the cache, after computing it if it is not there.

    If two processes need the same array, one computes it and the other waits.

    Args:
        folder: a `cache_folder`.
        name: base name of the files.
        key: identifies everything that the array is computed from.
        dtype: type of the values.
        shape: shape of one row.
        max_rows: upper bound of the number of rows, to check the disk space.
        write_rows: computes the array and writes it to a file.
        is_valid: quick check of an array and its notes from the cache.

    Returns:
        The array [rows, *shape], memory-mapped and read-only, and the notes.

    Raises:
        OutputError: the array cannot be written.
    """
    rows_path, info_path = folder / f"{name}.raw", folder / f"{name}.json"
    with translate_write_errors(rows_path):
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.warning("waiting for another training, which is writing %s", rows_path)
            lock.acquire()
    try:
        cached = _load(rows_path, info_path, key, dtype, shape)
        if cached is not None and is_valid(*cached):
            return cached
        info_path.unlink(missing_ok=True)  # invalid from here on
        for leftover in folder.glob(f".{rows_path.name}.*{TEMPORARY_SUFFIX}"):
            leftover.unlink(missing_ok=True)
        row_bytes = int(np.dtype(dtype).itemsize * np.prod(shape))
        require_disk_space(folder, max_rows * row_bytes)
        with atomic_write(rows_path) as temporary:
            with temporary.open("wb", buffering=0) as file:
                notes = write_rows(file)
            rows = temporary.stat().st_size // row_bytes
        with atomic_write(info_path) as temporary:
            temporary.write_bytes(msgspec.json.encode(_ArrayInfo(_FORMAT, key, rows, notes)))
        return _map(rows_path, dtype, (rows, *shape)), notes
    finally:
        lock.release()


def require_disk_space(folder: Path, needed: int) -> None:
    """Checks that the disk has enough free space.

    Raises:
        OutputError: fewer than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{folder} needs {needed / 1e9:,.1f} GB and the disk has {free / 1e9:,.1f} GB free; "
            "free some space, give --cache a folder on a larger disk, or use a smaller --size."
        )


def _load(
    rows_path: Path, info_path: Path, key: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> tuple[Array, list[str]] | None:
    """Returns None if the array is missing, damaged, or has another key."""
    try:
        info = read_document(info_path, _ArrayInfo)
        if (info.format, info.key) != (_FORMAT, key):
            return None
        if rows_path.stat().st_size != info.rows * np.dtype(dtype).itemsize * np.prod(shape):
            return None
        return _map(rows_path, dtype, (info.rows, *shape)), info.notes
    except (OSError, DocumentError):
        return None


def _map(rows_path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> Array:
    if 0 in shape:  # an empty file cannot be mapped
        return np.empty(shape, dtype)
    return np.memmap(rows_path, dtype, "r", shape=shape)
