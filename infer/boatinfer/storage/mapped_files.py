"""Memory-mapped anonymous temporary files, for data that is too large for memory.

The system deletes such a file when it is closed and no longer mapped, even if the process crashes.
"""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from boatinfer.storage.base import Place
from boatinfer.storage.files import temporary_folder, translate_write_errors

__all__ = ["MAX_ROWS_IN_MEMORY", "memory_map", "scratch_file"]

#: More rows than this are stored on disk, and processed slice by slice.
MAX_ROWS_IN_MEMORY = 2**20


@contextlib.contextmanager
def scratch_file(folder: Place) -> Iterator[IO[bytes]]:
    """Yields an empty temporary file to write to, which `memory_map` reads before it is closed.

    Args:
        folder: a folder on the disk to use; for one in a bucket, the machine's folder for
            temporary files is used.

    Raises:
        OutputError: the disk is full, read-only, or gone.
    """
    disk_folder = folder if isinstance(folder, Path) else temporary_folder()
    with (
        translate_write_errors(disk_folder),
        tempfile.TemporaryFile(dir=disk_folder) as file,
    ):
        yield file


def memory_map(file: IO[bytes]) -> mmap.mmap | bytes:
    """The content of a `scratch_file`, mapped into memory; it outlives the file's closing."""
    file.flush()
    if not file.tell():
        return b""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
