"""Collects the Python warnings of decoders per thread, independent of the warning filters.

`warnings.catch_warnings` and the filters are global to the process: used by several threads they
lose warnings, and with ``PYTHONWARNINGS=error`` a warning becomes an exception in the middle of a
decoder. So `warnings.warn` is replaced by a function that first checks whether its thread is
reading an image.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

__all__ = ["collected_warnings"]


#: Pillow warns above half of `MAX_PIXELS`, which is the only limit here.
_IGNORED_CATEGORY = Image.DecompressionBombWarning


class _ThreadWarnings(threading.local):
    """The warnings of this thread; None while it reads no image."""

    messages: list[str] | None = None


_thread_warnings = _ThreadWarnings()


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collects the warnings of this thread instead of showing or raising them.

    Yields:
        The distinct warnings, in order.
    """
    outer, _thread_warnings.messages = _thread_warnings.messages, []
    try:
        yield _thread_warnings.messages
    finally:
        _thread_warnings.messages = outer


def _intercept(warn: Any) -> Any:
    @functools.wraps(warn)
    def intercepting(
        message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **named: Any
    ) -> None:
        if _thread_warnings.messages is None:
            warn(
                message, category, stacklevel + 1, source, **named
            )  # one more frame: this function
        elif category is not _IGNORED_CATEGORY and str(message) not in _thread_warnings.messages:
            _thread_warnings.messages.append(str(message))

    return intercepting


warnings.warn = _intercept(warnings.warn)
