"""Lists the image objects of a folder in a bucket; `storage.listing` does it for disks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from boatinfer.errors import UsageError
from boatinfer.file_types import has_image_extension, is_system_folder
from boatinfer.storage.base import Place
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.listing import FileFilter, LeftOut, ListedFile, read_path_list
from boatinfer.text import to_text

__all__ = ["objects_from_list", "scan_objects"]

#: Number of concurrent requests for the objects of a list.
_REQUESTS = 64


def scan_objects(
    folder: BucketPath, skip: Place | None, file_filter: FileFilter, left_out: LeftOut
) -> Iterator[ListedFile]:
    """Lists the image objects of a folder, page by page.

    Args:
        folder: the folder to list.
        skip: a folder to skip: the results folder, should it lie inside.
        file_filter: which objects to list.
        left_out: counts the objects that are not listed.

    Yields:
        One `ListedFile` per image object; an object whose key ends in ``/`` stands for a folder.

    Raises:
        UsageError: the folder cannot be listed, or the filter would read every object.
    """
    if file_filter.sniff:
        raise UsageError(
            f"{folder}: --sniff would read the beginning of every object in the bucket; name the "
            "images with --from-file instead."
        )
    folder.connect()
    skipped_prefix = ""
    if _lies_in(skip, folder):
        skipped_prefix = f"{str(skip).removeprefix(str(folder)).strip('/')}/"
    if skipped_prefix == "/":
        raise UsageError(f"the results cannot go into the scanned folder {folder} itself; give -o.")
    try:
        for key, status in folder.objects():
            path = key[len(folder.prefix) :]
            is_skipped = bool(skipped_prefix) and path.startswith(skipped_prefix)
            if not is_skipped and _accepts(file_filter, path, left_out):
                yield ListedFile.from_status(to_text(path), status)
    except OSError as error:
        raise UsageError(f"{folder} cannot be listed: {error.strerror}.") from error


def _lies_in(skip: Place | None, folder: BucketPath) -> bool:
    return isinstance(skip, BucketPath) and f"{skip}/".startswith(f"{folder}/")


def _accepts(file_filter: FileFilter, path: str, left_out: LeftOut) -> bool:
    """Applies to a whole key the rules that `boatinfer.storage.listing` applies per folder."""
    *folders, name = path.split("/")
    if not name or name.startswith(".") or not _enters(file_filter, folders, left_out):
        return False
    if not file_filter.accepts(name, path):
        return False
    if has_image_extension(name):
        return True
    left_out.file(name)
    return False


def _enters(file_filter: FileFilter, folders: list[str], left_out: LeftOut) -> bool:
    """Whether the parent folders of an object are listed."""
    if folders and not file_filter.recursive:
        return False
    for depth, folder in enumerate(folders):
        if file_filter.skips_system_folder(folder):
            left_out.folder("/".join(folders[: depth + 1]))
            return False
        if folder.startswith(".") and not is_system_folder(folder):
            return False
        if file_filter.excludes(folder, "/".join(folders[: depth + 1])):
            return False
    return True


def objects_from_list(
    folder: BucketPath, source: Place, file_filter: FileFilter
) -> Iterator[ListedFile]:
    """Gives the objects that a list names, as `boatinfer.storage.listing.files_from_list` does.

    Args:
        folder: the folder that the keys are relative to; the list may also hold URIs.
        source: the list; ``-`` is the standard input.
        file_filter: its patterns must accept the object; extensions do not matter.

    Yields:
        One `ListedFile` per distinct key, whether or not the object exists.

    Raises:
        UsageError: the list cannot be read, or names something outside of the folder.
    """
    paths = dict.fromkeys(_relative(folder, name) for name in read_path_list(source))
    folder.connect()
    accepted = (path for path in paths if file_filter.accepts(path.rsplit("/")[-1], path))
    yield from _request_each(folder, accepted)


def _relative(folder: BucketPath, name: str) -> str:
    if "://" not in name:
        return name
    prefix = f"{folder}/"
    if not name.startswith(prefix):
        raise UsageError(f"--from-file: {name} lies outside {folder}; give keys within it.")
    return name.removeprefix(prefix)


def _request_each(folder: BucketPath, paths: Iterable[str]) -> Iterator[ListedFile]:
    """Requests the metadata of each object, many at a time, in order."""
    pending: deque[Future[ListedFile]] = deque()
    with ThreadPoolExecutor(_REQUESTS) as pool:
        for path in paths:
            pending.append(pool.submit(_request, folder, path))
            if len(pending) > 2 * _REQUESTS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _request(folder: BucketPath, path: str) -> ListedFile:
    try:
        status = (folder / path).stat()
    except OSError:  # reading it will report the error
        return ListedFile(to_text(path), -1, -1)
    return ListedFile.from_status(to_text(path), status)
