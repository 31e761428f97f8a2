"""Hides what native libraries print to standard error."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO

from boatinfer.anonymous_files import anonymous_file

__all__ = ["native_stderr_hidden"]


def _temporary_or_null_file() -> IO[bytes]:
    """A file for the hidden output; the null device if no temporary file can be made."""
    try:
        return anonymous_file("boatinfer-stderr")
    except OSError:
        return open(os.devnull, "w+b")  # noqa: PTH123


@contextlib.contextmanager
def native_stderr_hidden() -> Iterator[None]:
    """Hides what compiled code writes to standard error, unless the body raises.

    TensorFlow prints lines about missing CUDA drivers that no setting turns off. If the body
    raises, the hidden output is printed, because it may explain the error.
    """
    try:
        original_stderr = os.dup(2)
    except OSError:  # standard error is closed: nothing to hide
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with _temporary_or_null_file() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(original_stderr, 2)
            hidden.seek(0)
            os.write(original_stderr, hidden.read())
            raise
        finally:
            os.dup2(original_stderr, 2)
            os.close(original_stderr)
