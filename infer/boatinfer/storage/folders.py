"""The image files of a folder, on a disk or in a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from boatinfer.storage.base import Place
from boatinfer.storage.bucket_listing import listed_objects, scan_objects
from boatinfer.storage.listing import Choice, Found, LeftOut, listed, scan
from boatinfer.storage.locations import is_remote

__all__ = ["list_images", "list_named"]


def list_images(
    folder: Place, skip: Place, choice: Choice, left_out: LeftOut, stopped: Callable[[], object]
) -> Iterator[Found]:
    """Lists the image files of a folder: `boatinfer.storage.listing.scan` for any place.

    Raises:
        UsageError: the folder is missing or cannot be listed.
    """
    if is_remote(folder):
        return scan_objects(folder, skip, choice, left_out)
    return scan(Path(str(folder)), skip, choice, left_out, stopped)


def list_named(folder: Place, source: Place, choice: Choice) -> Iterator[Found]:
    """Lists the files that a list names: `boatinfer.storage.listing.listed` for any place.

    Args:
        folder: what relative paths are relative to; on a disk as the user wrote it.
        source: the list.
        choice: its patterns must take the file too.

    Raises:
        UsageError: the list cannot be read, or a path leads out of the folder.
    """
    if is_remote(folder):
        return listed_objects(folder, source, choice)
    return listed(Path(str(folder)), source, choice)
