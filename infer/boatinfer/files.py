"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["TEMPORARY", "replacing", "sync_folder"]

#: Ending of a file that is still being written; whoever finds one may delete it.
TEMPORARY = ".tmp"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path``, which takes its name once written and synced.

    Args:
        path: the final file; its folder must exist.

    Yields:
        The path to write to. If the body raises, the temporary file is removed and what
        stood at ``path`` before still stands there.

    Raises:
        OSError: the file could not be written or renamed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes renames within a folder survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows has no handle on a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
