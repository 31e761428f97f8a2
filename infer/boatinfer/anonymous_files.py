"""Anonymous temporary files: they have no path."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import IO

__all__ = ["anonymous_file"]


def anonymous_file(name: str) -> IO[bytes]:
    """Opens an empty anonymous file; on Linux it is in memory (memfd) and needs no disk.

    Args:
        name: label that system tools such as lsof show for it.

    Raises:
        OSError: there is no writable folder for temporary files.
    """
    with contextlib.suppress(OSError, AttributeError):  # Linux, since 3.17
        return os.fdopen(os.memfd_create(name), "w+b")
    return tempfile.TemporaryFile()
