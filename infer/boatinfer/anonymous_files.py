"""Files without a name."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import IO

__all__ = ["anonymous_file"]


def anonymous_file(name: str) -> IO[bytes]:
    """Opens an empty file without a name; on Linux it lies in memory and needs no disk.

    Args:
        name: what the system's tools call it.

    Raises:
        OSError: there is no place for temporary files.
    """
    with contextlib.suppress(OSError, AttributeError):  # Linux, since 3.17
        return os.fdopen(os.memfd_create(name), "w+b")
    return tempfile.TemporaryFile()
