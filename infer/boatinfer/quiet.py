"""Keeps native libraries' chatter off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["native_chatter_hidden"]


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
    with tempfile.TemporaryFile() as hidden:
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
