"""Standard output and standard error, which may be closed, full, or read no further."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from typing import Any, TextIO

from boatinfer.errors import OutputError
from boatinfer.logs import Level, say

__all__ = ["guard_standard_files", "show_warnings"]


class _Sentences(logging.Handler):
    """Writes log messages to standard error, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        warning = Level.WARNING if record.levelno >= logging.WARNING else Level.INFO
        say(Level.ERROR if record.levelno >= logging.ERROR else warning, record.getMessage())


def show_warnings() -> None:
    """Shows what the packages log at the level of warnings and above."""
    for name in ("boatinfer", "boattrain", "boatexport"):
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Sentences) for handler in logger.handlers):
            logger.addHandler(_Sentences())
            logger.propagate = False


def guard_standard_files() -> None:
    """Makes printing do no harm, whatever the standard files are.

    Closed ones are given to nobody, lest an image be opened in their place. When nobody reads the
    output any more, as in ``boatinfer results OUT | head -1``, the rest goes nowhere, and the
    command ends as it would have ended; when it cannot be written, an `OutputError` says so. What
    cannot be said on standard error is not said.
    """
    with contextlib.suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    if sys.stdout is sys.__stdout__:  # nobody has put another in its place
        sys.stdout = _guarded(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(sys.stderr, 2)


def _guarded(stream: TextIO | None, number: int) -> Any:
    if stream is None:  # it was closed
        return None
    buffer = io.BufferedWriter(_Guard(number, "wb", closefd=False))
    # What the encoding has no characters for must not end a command that is done.
    errors = "backslashreplace" if stream.errors == "strict" else stream.errors
    return io.TextIOWrapper(
        buffer, stream.encoding, errors, line_buffering=number == 2 or stream.isatty()
    )


class _Guard(io.FileIO):
    """A standard file that is left alone once it has refused something."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if self.fileno() == 1 and not isinstance(error, BrokenPipeError):
                raise OutputError(
                    f"the standard output could not be written: {error.strerror}."
                ) from error
            return len(memoryview(data))  # type: ignore[arg-type]
