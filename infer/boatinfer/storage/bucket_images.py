"""The images of a bucket: which there are, and their content.

What `boatinfer.night.scan` and `boatinfer.images.load` do for disks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from boatinfer import images
from boatinfer.errors import Failure, ImageError, UsageError
from boatinfer.night.scan import Choice, Found, has_image_ending, names, to_text
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.bucket import Status as BucketStatus
from boatinfer.storage.place import Place, Status

__all__ = ["listed_objects", "load_image", "scan_objects"]

#: Objects of a list that are asked for at the same time.
_REQUESTS = 64


def scan_objects(folder: BucketPath, skip: Place | None, choice: Choice) -> Iterator[Found]:
    """Lists the image objects of a folder, page by page as the store tells them.

    Args:
        folder: where to look.
        skip: a folder that is left out: the results folder, should it lie inside.
        choice: which objects count.

    Yields:
        One `Found` per image object; an object whose key ends in ``/`` stands for a folder.

    Raises:
        UsageError: the folder cannot be listed, or the choice needs every object's content.
    """
    if choice.sniff:
        raise UsageError(
            f"{folder}: --sniff would read the beginning of every object in the bucket; name the "
            "images with --from-file instead."
        )
    folder.connect()
    skipped = f"{str(skip).removeprefix(str(folder)).strip('/')}/" if _lies_in(skip, folder) else ""
    if skipped == "/":
        raise UsageError(f"the results cannot go into the scanned folder {folder} itself; give -o.")
    try:
        for key, status in folder.objects():
            path = key[len(folder.prefix) :]
            inside = bool(skipped) and path.startswith(skipped)
            if not inside and _takes(choice, path):
                yield Found(to_text(path), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UsageError(f"{folder} cannot be listed: {error.strerror}.") from error


def _lies_in(skip: Place | None, folder: BucketPath) -> bool:
    return isinstance(skip, BucketPath) and f"{skip}/".startswith(f"{folder}/")


def _takes(choice: Choice, path: str) -> bool:
    """What `boatinfer.night.scan` decides folder by folder, for the whole path."""
    *folders, name = path.split("/")
    if not has_image_ending(name) or name.startswith("."):
        return False
    if folders:
        if not choice.recursive or path.startswith(".") or "/." in path:
            return False
        if choice.exclude and any(
            choice.refuses(folder, "/".join(folders[: depth + 1]))
            for depth, folder in enumerate(folders)
        ):
            return False
    return choice.takes(name, path)


def listed_objects(folder: BucketPath, source: Place, choice: Choice) -> Iterator[Found]:
    """Takes the objects that a list names, as `boatinfer.night.scan.listed` does.

    Args:
        folder: what the keys are relative to; URIs of objects in it do as well.
        source: the list; ``-`` is the standard input.
        choice: its patterns must take the object too; endings do not matter.

    Yields:
        One `Found` per key, each once, whether or not there is such an object.

    Raises:
        UsageError: the list cannot be read, or names something outside of the folder.
    """
    paths = dict.fromkeys(_relative(folder, name) for name in names(source))
    folder.connect()
    wanted = (path for path in paths if choice.takes(path.rsplit("/")[-1], path))
    yield from _asked(folder, wanted)


def _relative(folder: BucketPath, name: str) -> str:
    if "://" not in name:
        return name
    inside = f"{folder}/"
    if not name.startswith(inside):
        raise UsageError(f"--from-file: {name} lies outside {folder}; give keys within it.")
    return name.removeprefix(inside)


def _asked(folder: BucketPath, paths: Iterable[str]) -> Iterator[Found]:
    """Asks the store for each object, for some at a time."""
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(_REQUESTS) as pool:
        for path in paths:
            waiting.append(pool.submit(_found, folder, path))
            if len(waiting) > 2 * _REQUESTS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _found(folder: BucketPath, path: str) -> Found:
    try:
        status = (folder / path).stat()
    except OSError:  # reading it will tell
        return Found(to_text(path), -1, -1)
    return Found(to_text(path), status.st_size, status.st_mtime_ns)


def load_image(folder: Place, path: str) -> tuple[bytes, Status]:
    """Reads an image of a folder, wherever that is.

    Args:
        folder: on this machine or in a bucket.
        path: relative to it; on this machine it may be absolute.

    Raises:
        ImageError: ``vanished``, ``unreadable`` or ``too_large``.
    """
    if isinstance(folder, BucketPath):
        return _load_object(folder / path)
    return images.load(os.path.join(str(folder), path))  # noqa: PTH118


def _load_object(path: BucketPath) -> tuple[bytes, BucketStatus]:
    try:
        data, status = path.load(images.MAX_BYTES)
    except FileNotFoundError as error:
        raise ImageError(Failure.VANISHED, f"{error.strerror} (any more)") from error
    except OSError as error:
        raise ImageError(Failure.UNREADABLE, error.strerror or str(error)) from error
    except MemoryError as error:
        raise ImageError(Failure.TOO_LARGE, "not enough memory to read the object") from error
    if status.st_size > images.MAX_BYTES:
        raise ImageError(Failure.TOO_LARGE, f"the object has {status.st_size:,} bytes")
    return data, status
