"""Paths of files and folders on this machine or in a bucket.

A `Place` is either: a plain `pathlib.Path`, or a `boatinfer.storage.bucket.BucketPath`, which has
the same methods as far as they are needed. `place` parses a path or URI from the command line.
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

__all__ = [
    "is_folder",
    "is_remote",
    "local_path",
    "map_concurrently",
    "open_for_arrow",
    "place",
    "resolve",
]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: URI scheme before ``://``; a single letter is a Windows drive.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")

#: Number of concurrent requests.
_REQUESTS = 16


def place(text: str | Place) -> Place:
    """Parses a path or URI.

    Args:
        text: a path, ``file://``, or a URI of a bucket (``s3://``, ``gs://``).

    Raises:
        UsageError: a URI with another scheme, or without a bucket.
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


def local_path(text: str) -> Path:
    """Parses a path where only a file or folder of this machine is allowed.

    Raises:
        UsageError: it is the URI of a bucket.
    """
    path = place(text)
    if isinstance(path, Path):
        return path
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


def is_remote(path: Place) -> TypeGuard[BucketPath]:
    """Whether a place is in a bucket: requests are slow, and objects are written atomically."""
    return isinstance(path, BucketPath)


def is_folder(path: Place) -> bool:
    """Whether there is such a folder; False if access to it on a disk is denied.

    Raises:
        OSError: the store of a bucket refused the request, or did not answer.
    """
    return path.is_dir() if is_remote(path) else os.path.isdir(str(path))  # noqa: PTH112


def resolve(folder: Place) -> Place:
    """The canonical path of a folder, with links resolved."""
    return folder if is_remote(folder) else Path(os.path.realpath(str(folder)))


def open_for_arrow(file: Place) -> Any:
    """An argument for pyarrow's readers: the path, or a seekable file for an object in a bucket.

    Raises:
        OSError: there is no such object, or it cannot be read.
    """
    return file.open_seekable() if is_remote(file) else os.fspath(file)  # type: ignore[call-overload]


def map_concurrently(
    work: Callable[[Item], Result], items: Sequence[Item], folder: Place
) -> Iterator[Result]:
    """Calls ``work`` on every item, in order; for a bucket concurrently, to hide latency."""
    if not is_remote(folder) or len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(_REQUESTS) as pool:
        yield from pool.map(work, items)
