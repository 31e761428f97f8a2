"""What a command says on standard error: lines of text, or of JSON for programs.

Where systemd reads it, each line begins with its priority (sd-daemon(3)), such as ``<4>``.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from boatinfer.text import printable

__all__ = ["Level", "LogFormat", "about", "is_json", "say", "use"]


class LogFormat(enum.StrEnum):
    """How standard error is written."""

    TEXT = "text"
    JSON = "json"


class Level(enum.IntEnum):
    """How important a line is: the priorities of syslog(3)."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    INFO = 6


_format = LogFormat.TEXT
_fields: dict[str, Any] = {}


def use(log_format: LogFormat, quiet: bool = False) -> None:
    """Sets the format of all lines of this process, and forgets what they were about.

    Args:
        log_format: the format.
        quiet: whether to say nothing but warnings and errors.
    """
    global _format  # noqa: PLW0603
    _format = log_format
    _fields.clear()
    informs = log_format is LogFormat.JSON and not quiet
    logging.getLogger("boatinfer").setLevel(logging.INFO if informs else logging.NOTSET)
    if log_format is LogFormat.JSON:
        sys.excepthook = _say_exception


def is_json() -> bool:
    """Whether lines are JSON."""
    return _format is LogFormat.JSON


def about(**fields: Any) -> None:
    """Adds fields to all lines of JSON that follow, such as the id of the run."""
    _fields.update(fields)


def say(level: Level, message: str, head: str = "boatinfer: ", **fields: Any) -> None:
    """Writes a line.

    Args:
        level: how important it is.
        message: a sentence.
        head: what a line of text begins with.
        fields: more, for lines of JSON.
    """
    if sys.stderr is None:
        return
    line = _as_json(level, message, fields) if is_json() else f"{head}{printable(message)}"
    priority = f"<{int(level)}>" if _is_read_by_systemd() else ""
    # It is closed, or a signal came while it was being written.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        print(f"{priority}{line}", file=sys.stderr, flush=True)  # noqa: T201


def _as_json(level: Level, message: str, fields: dict[str, Any]) -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "level": level.name.lower(), "message": message}
    return json.dumps(line | _fields | fields, ensure_ascii=False, default=str)


def _is_read_by_systemd() -> bool:
    """Whether standard error is the journal's (``JOURNAL_STREAM`` in systemd.exec(5))."""
    stream = os.environ.get("JOURNAL_STREAM")
    if not stream:
        return False
    with contextlib.suppress(OSError):
        status = os.fstat(2)
        return stream == f"{status.st_dev}:{status.st_ino}"
    return False


def _say_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    say(Level.CRITICAL, f"{kind.__name__}: {error}", traceback=text)
