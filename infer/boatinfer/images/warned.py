"""Python warnings of the decoders: caught in the thread that reads the image, whatever filters say.

`warnings.catch_warnings` and the filters are the process's, not the thread's: side by side they
lose warnings, and with ``PYTHONWARNINGS=error`` a warning becomes an exception in the middle of a
decoder. So `warnings.warn` itself asks here first whether its thread is reading an image.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

__all__ = ["unwarned"]


#: Pillow warns from half of `MAX_PIXELS` on; that limit is the one that counts here.
_OURS = Image.DecompressionBombWarning


class _Caught(threading.local):
    """What the decoders have said in this thread; None while it reads no image."""

    said: list[str] | None = None


_caught = _Caught()


@contextmanager
def unwarned() -> Iterator[list[str]]:
    """Within, warnings of this thread are collected: neither shown nor raised.

    Yields:
        The warnings, each once, as they come.
    """
    outer, _caught.said = _caught.said, []
    try:
        yield _caught.said
    finally:
        _caught.said = outer


def _asked_first(warn: Any) -> Any:
    @functools.wraps(warn)
    def asking(
        message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **named: Any
    ) -> None:
        if _caught.said is None:
            warn(message, category, stacklevel + 1, source, **named)  # one frame more: this one
        elif category is not _OURS and str(message) not in _caught.said:
            _caught.said.append(str(message))

    return asking


warnings.warn = _asked_first(warnings.warn)
