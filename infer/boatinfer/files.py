"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from boatinfer.errors import OutputError, UsageError

__all__ = ["TEMPORARY", "replacing", "require_folder", "writing"]

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
        OutputError: the file could not be written or renamed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with writing(path):
            yield temporary
            with temporary.open("r+b") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses while ``path`` is written into an `OutputError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path} could not be written: {reason}; make room or choose another place."
        ) from error


def require_folder(path: Path) -> None:
    """Refuses a file whose folder does not exist, before any long work.

    Raises:
        UsageError: it does not.
    """
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist; make it or check the name.")


def _sync_folder(folder: Path) -> None:
    """Makes renames within a folder survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows has no handle on a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
