"""A folder of a bucket to the list of image objects in it, as `storage.listing` for disks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from boatinfer.errors import UsageError
from boatinfer.file_types import has_image_extension, is_system_folder
from boatinfer.storage.base import Place
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.listing import Choice, Found, LeftOut, names
from boatinfer.text import to_text

__all__ = ["listed_objects", "scan_objects"]

#: Objects of a list that are asked for at the same time.
_REQUESTS = 64


def scan_objects(
    folder: BucketPath, skip: Place | None, choice: Choice, left_out: LeftOut
) -> Iterator[Found]:
    """Lists the image objects of a folder, page by page as the store tells them.

    Args:
        folder: where to look.
        skip: a folder that is left out: the results folder, should it lie inside.
        choice: which objects count.
        left_out: counts what is not taken.

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
            if not inside and _takes(choice, path, left_out):
                yield Found.of(to_text(path), status)
    except OSError as error:
        raise UsageError(f"{folder} cannot be listed: {error.strerror}.") from error


def _lies_in(skip: Place | None, folder: BucketPath) -> bool:
    return isinstance(skip, BucketPath) and f"{skip}/".startswith(f"{folder}/")


def _takes(choice: Choice, path: str, left_out: LeftOut) -> bool:
    """What `boatinfer.storage.listing` decides folder by folder, for the whole path."""
    *folders, name = path.split("/")
    if not name or name.startswith(".") or not _enters(choice, folders, left_out):
        return False
    if not choice.takes(name, path):
        return False
    if has_image_extension(name):
        return True
    left_out.file(name)
    return False


def _enters(choice: Choice, folders: list[str], left_out: LeftOut) -> bool:
    """Whether the folders that an object lies in are entered."""
    if folders and not choice.recursive:
        return False
    for depth, folder in enumerate(folders):
        if choice.passes_over(folder):
            left_out.folder("/".join(folders[: depth + 1]))
            return False
        if folder.startswith(".") and not is_system_folder(folder):
            return False
        if choice.refuses(folder, "/".join(folders[: depth + 1])):
            return False
    return True


def listed_objects(folder: BucketPath, source: Place, choice: Choice) -> Iterator[Found]:
    """Takes the objects that a list names, as `boatinfer.storage.listing.listed` does.

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
    return Found.of(to_text(path), status)
