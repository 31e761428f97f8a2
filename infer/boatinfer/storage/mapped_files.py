"""What a memory has no room for, for a while: files without a name, mapped.

The system removes such a file when nobody looks at it any more, however the process ends.
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

__all__ = ["MANY", "mapped", "scratch"]

#: More rows than this are put on disk, and then worked on slice by slice.
MANY = 2**20


@contextlib.contextmanager
def scratch(beside: Place) -> Iterator[IO[bytes]]:
    """Gives an empty file to write to, and to look at with `mapped` before it is closed.

    Args:
        beside: a folder on the disk that is to hold it; for one in a bucket it is that of the
            machine's temporary files.

    Raises:
        OutputError: the disk is full, read-only, or gone.
    """
    folder = beside if isinstance(beside, Path) else temporary_folder()
    with translate_write_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
        yield file


def mapped(file: IO[bytes]) -> mmap.mmap | bytes:
    """What a `scratch` file holds; it stays when the file is closed, and on disk."""
    file.flush()
    if not file.tell():
        return b""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
