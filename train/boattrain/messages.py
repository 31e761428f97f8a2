"""Shows what the package logs on the standard error of a command."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import typer

__all__ = ["messages_on_stderr"]


class _StderrHandler(logging.Handler):
    """Writes each message, as it is, to the standard error of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one message."""
        typer.echo(record.getMessage(), err=True)


@contextlib.contextmanager
def messages_on_stderr() -> Iterator[None]:
    """Shows the messages of the ``boattrain`` loggers; also usable as a decorator.

    It replaces the handler for warnings that all commands have, which adds a prefix.
    """
    logger = logging.getLogger("boattrain")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    logger.handlers = [_StderrHandler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
        logger.propagate = propagate
