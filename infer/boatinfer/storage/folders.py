"""The image files of a folder, on a disk or in a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from boatinfer.storage.base import Place
from boatinfer.storage.bucket_listing import objects_from_list, scan_objects
from boatinfer.storage.listing import FileFilter, LeftOut, ListedFile, files_from_list, scan
from boatinfer.storage.locations import is_remote

__all__ = ["list_images", "list_named"]


def list_images(
    folder: Place, skip: Place, choice: FileFilter, left_out: LeftOut, stopped: Callable[[], object]
) -> Iterator[ListedFile]:
    """Lists the image files of a folder: `boatinfer.storage.listing.scan` for any place.

    Raises:
        UsageError: the folder is missing or cannot be listed.
    """
    if is_remote(folder):
        return scan_objects(folder, skip, choice, left_out)
    return scan(Path(str(folder)), skip, choice, left_out, stopped)


def list_named(folder: Place, source: Place, choice: FileFilter) -> Iterator[ListedFile]:
    """Lists the files that a list names: `boatinfer.storage.listing.files_from_list` for any place.

    Args:
        folder: what relative paths are relative to; on a disk as the user wrote it.
        source: the list.
        choice: its patterns must take the file too.

    Raises:
        UsageError: the list cannot be read, or a path leads out of the folder.
    """
    if is_remote(folder):
        return objects_from_list(folder, source, choice)
    return files_from_list(Path(str(folder)), source, choice)
