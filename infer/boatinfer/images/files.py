"""An image file's content, from a disk or a bucket."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from boatinfer.errors import Failure, ImageError
from boatinfer.images.admission import loading
from boatinfer.storage.base import Place, Status
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.bucket import Status as BucketStatus
from boatinfer.storage.locations import is_remote

__all__ = ["MAX_BYTES", "load", "load_in"]

#: A larger file is refused unread.
MAX_BYTES = 2**30

# Opening a named pipe would wait for a writer for ever; this way it is seen for what it is.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def load(path: Path | str) -> tuple[bytes, os.stat_result]:
    """Reads an image file.

    Returns:
        Its content, and its status as of now, so that a later change can be seen.

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
            loading(status.st_size)
            return _content(handle, status.st_size), status
        finally:
            os.close(handle)
    except FileNotFoundError as error:
        message = "no such file (any more), or a link to nothing"
        raise ImageError(Failure.VANISHED, message) from error
    except OSError as error:
        raise ImageError(Failure.UNREADABLE, error.strerror or str(error)) from error
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to read the file") from error


def _content(handle: int, size: int) -> bytes:
    """All that an open file holds, in one call to the system unless it is not of its size."""
    content = os.read(handle, size + 1)
    if len(content) == size:
        return content
    while more := os.read(handle, size + 1):
        content += more
    return content


def load_in(folder: Place, path: str, size: int = 0) -> tuple[bytes, Status]:
    """Reads an image of a folder, wherever that is.

    Args:
        folder: on this machine or in a bucket.
        path: relative to it; on this machine it may be absolute.
        size: bytes, if the listing told; a disk tells itself.

    Raises:
        ImageError: ``vanished``, ``unreadable`` or ``too_large``.
    """
    if is_remote(folder):
        loading(min(size, MAX_BYTES))
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
