"""Where folders and files are: on this machine, or in a bucket.

A `Place` is what both are to the rest of the program: the few methods of `pathlib.Path` that it
needs. `place` makes one of what a user wrote; a `boatinfer.storage.bucket.BucketPath` is a place
in a bucket, and everything else is a plain `Path`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeGuard, TypeVar
from urllib.parse import unquote, urlsplit

from boatinfer.errors import UsageError
from boatinfer.storage.base import Place
from boatinfer.storage.bucket import SCHEMES, BucketPath

__all__ = ["concurrently", "is_folder", "is_remote", "local", "opened", "place", "resolved"]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: What precedes ``://``; a name of one letter is a drive of Windows.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")

#: Requests at a time where a few objects are asked for.
_REQUESTS = 16


def place(text: str | Place) -> Place:
    """Makes a place of what a user wrote: a path, or a URI.

    Args:
        text: a path, ``file://``, or a URI of a bucket (``s3://``, ``gs://``).

    Raises:
        UsageError: a URI of another kind, or without a bucket.
    """
    if not isinstance(text, str):
        return text
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Path(text)
    if scheme[1].lower() == "file":
        return _local(text)
    if scheme[1].lower() not in SCHEMES:
        raise UsageError(f"{text}: a URI must begin with s3://, gs:// or file://.")
    return BucketPath.parse(text)


def local(text: str) -> Path:
    """Makes a path of what a user wrote, where only a file or folder of this machine will do.

    Raises:
        UsageError: it is the URI of something in a bucket.
    """
    where = place(text)
    if isinstance(where, Path):
        return where
    raise UsageError(
        f"{text}: this must be a file or folder of this machine; copy it here, or give a path."
    )


def _local(uri: str) -> Path:
    """The path that a ``file://`` URI (RFC 8089) names."""
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"} or not parts.path:
        raise UsageError(f"{uri}: a file:// URI must name a file of this machine, file:///path.")
    path = unquote(uri.split("://", 1)[1].removeprefix("localhost"), errors="surrogateescape")
    return Path(path[1:] if os.name == "nt" else path)


def is_remote(where: Place) -> TypeGuard[BucketPath]:
    """Whether a place is in a bucket: requests take long, and objects appear whole."""
    return isinstance(where, BucketPath)


def is_folder(where: Place) -> bool:
    """Whether there is such a folder; on a disk that may not be looked at there is none.

    Raises:
        OSError: the store of a bucket does not tell.
    """
    return where.is_dir() if is_remote(where) else os.path.isdir(str(where))  # noqa: PTH112


def resolved(folder: Place) -> Place:
    """A folder by the one name that all its names lead to."""
    return folder if is_remote(folder) else Path(os.path.realpath(str(folder)))


def opened(file: Place) -> Any:
    """What pyarrow opens: the path itself, or a seekable file that reads a bucket's object.

    Raises:
        OSError: there is no such object, or it cannot be read.
    """
    return file.opened() if is_remote(file) else os.fspath(file)  # type: ignore[call-overload]


def concurrently(
    work: Callable[[Item], Result], items: Sequence[Item], where: Place
) -> Iterator[Result]:
    """Calls ``work`` on every item, in order; in a bucket on some at a time, to hide latency."""
    if not is_remote(where) or len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(_REQUESTS) as pool:
        yield from pool.map(work, items)
