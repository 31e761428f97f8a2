"""Keeps native libraries' chatter off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO

from boatinfer.anonymous_files import anonymous_file

__all__ = ["native_chatter_hidden"]


def _sink() -> IO[bytes]:
    """A file for what is hidden; nothing is kept where there is no place for one."""
    try:
        return anonymous_file("boatinfer-stderr")
    except OSError:
        return open(os.devnull, "w+b")  # noqa: PTH123


@contextlib.contextmanager
def native_chatter_hidden() -> Iterator[None]:
    """Hides what compiled code writes to standard error, unless the body raises.

    TensorFlow greets with lines about missing CUDA drivers that no setting turns off.
    If the body fails, what was hidden is printed, for it may say why.
    """
    try:
        kept = os.dup(2)
    except OSError:  # closed by whoever started us: nothing to hide
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with _sink() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
