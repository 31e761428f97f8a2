"""Loads an image file from a disk or a bucket."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from boatinfer.errors import Failure, ImageError
from boatinfer.images.admission import wait_to_load
from boatinfer.storage.base import Place, Status
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.bucket import Status as BucketStatus
from boatinfer.storage.locations import is_remote

__all__ = ["MAX_BYTES", "load", "load_from_folder"]

#: Larger files are refused without being read.
MAX_BYTES = 2**30

# Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def load(path: Path | str) -> tuple[bytes, os.stat_result]:
    """Reads an image file.

    Returns:
        Its content, and its status at the time of reading, by which a later change is noticed.

    Raises:
        ImageError: ``vanished``, ``unreadable`` or ``too_large``.
    """
    try:
        handle = os.open(path, _FLAGS)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
                raise ImageError(Failure.UNREADABLE, f"it is {kind}")
            if status.st_size > MAX_BYTES:
                raise ImageError(Failure.TOO_LARGE, f"the file has {status.st_size:,} bytes")
            wait_to_load(status.st_size)
            return _read_all(handle, status.st_size), status
        finally:
            os.close(handle)
    except FileNotFoundError as error:
        message = "no such file (any more), or a link to nothing"
        raise ImageError(Failure.VANISHED, message) from error
    except OSError as error:
        raise ImageError(Failure.UNREADABLE, error.strerror or str(error)) from error
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to read the file") from error


def _read_all(handle: int, size: int) -> bytes:
    """Reads an open file, with one system call if it has the expected size."""
    content = os.read(handle, size + 1)
    if len(content) == size:
        return content
    while chunk := os.read(handle, size + 1):
        content += chunk
    return content


def load_from_folder(folder: Place, path: str, size: int = 0) -> tuple[bytes, Status]:
    """Reads an image of a folder on this machine or in a bucket.

    Args:
        folder: on this machine or in a bucket.
        path: relative to it; on this machine it may be absolute.
        size: bytes, if the listing gave it; only used for a bucket.

    Raises:
        ImageError: ``vanished``, ``unreadable`` or ``too_large``.
    """
    if is_remote(folder):
        wait_to_load(min(size, MAX_BYTES))
        return _load_object(folder / path)
    return load(os.path.join(str(folder), path))  # noqa: PTH118


def _load_object(path: BucketPath) -> tuple[bytes, BucketStatus]:
    try:
        data, status = path.load(MAX_BYTES)
    except FileNotFoundError as error:
        raise ImageError(Failure.VANISHED, f"{error.strerror} (any more)") from error
    except OSError as error:
        raise ImageError(Failure.UNREADABLE, error.strerror or str(error)) from error
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to read the object") from error
    if status.st_size > MAX_BYTES:
        raise ImageError(Failure.TOO_LARGE, f"the object has {status.st_size:,} bytes")
    return data, status
