"""The exceptions of the package, and their exit codes.

    BoatinferError            1    a bug, or an unforeseen condition
    ├── UsageError            2    no such folder, a bad option, a missing extra
    ├── ModelError            4    the model file is unusable, or its self-test failed
    ├── DeviceError           5    the requested device is not available
    ├── BusyError             6    another run holds the results folder
    ├── OutputError           7    the results could not be written
    │   └── PartError         7    a part of the results is damaged, or has gone
    └── RunInterruptedError      129, 130 or 143, after the finished results are written
    StoreError                7    the object store refused a request; also an OSError
    ImageError                one image failed: becomes a row, never an exit code

A run that is complete ends with 0, `TOO_MANY_FAILURES` (3), `UNLISTED_FOLDER` (8) or `UNUSUAL`
(9). ``boatinfer night status`` has `NIGHT_MISSED` (10), and ``boatinfer doctor`` `DOCTOR_WARNING`
(11) and `DOCTOR_FAULT` (12).

A message is one sentence that says what is wrong, where, and what to do.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Any

__all__ = [
    "DOCTOR_FAULT",
    "DOCTOR_WARNING",
    "NIGHT_MISSED",
    "TOO_MANY_FAILURES",
    "UNLISTED_FOLDER",
    "UNUSUAL",
    "WARNING",
    "BoatinferError",
    "BusyError",
    "DeviceError",
    "Failure",
    "ImageError",
    "ModelError",
    "OutputError",
    "RunInterruptedError",
    "UsageError",
    "first_line",
    "install_hint",
]

#: Exit code of a complete run in which more new images failed than ``--max-failures`` allows.
TOO_MANY_FAILURES = 3
#: Exit code of a complete run that could not list a folder, so that images may be missing.
UNLISTED_FOLDER = 8
#: Exit code of a complete run in which something is unusual, with ``--fail-on-unusual``.
UNUSUAL = 9
#: Exit codes of ``boatinfer doctor``: a warning is the worst that it found, or a fault.
DOCTOR_WARNING, DOCTOR_FAULT = 11, 12
#: Exit code of ``boatinfer night status`` if a night that was due has not started.
NIGHT_MISSED = 10

#: Prefix of the note of an intact image about which its decoder printed a warning.
WARNING = "warning: "


class BoatinferError(Exception):
    """Base of all errors that end a command; ``exit_code`` is the process's."""

    exit_code = 1


class UsageError(BoatinferError):
    """The request is invalid: a missing folder, a bad option, a missing extra."""

    exit_code = 2


class ModelError(BoatinferError):
    """A model file that cannot be used, or whose self-test failed on this device."""

    exit_code = 4


class DeviceError(BoatinferError):
    """The requested device is not available."""

    exit_code = 5


class BusyError(BoatinferError):
    """Another run holds the results folder."""

    exit_code = 6


class OutputError(BoatinferError):
    """The results could not be written."""

    exit_code = 7


class RunInterruptedError(BoatinferError):
    """A signal ended the run; the finished results are written.

    Args:
        message: the sentence for the user.
        signal_number: 1 (SIGHUP), 2 (SIGINT) or 15 (SIGTERM); the exit code is 128 more.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.exit_code - 128)


class Failure(enum.StrEnum):
    """Why an image has no label: the closed set of reasons."""

    NOT_AN_IMAGE = "not_an_image"
    CORRUPT = "corrupt"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    VANISHED = "vanished"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    INFERENCE_FAILED = "inference_failed"


class ImageError(Exception):
    """One image that cannot be classified.

    Args:
        reason: the reason, which becomes the row's status.
        message: one sentence of detail, which becomes the row's error.
    """

    def __init__(self, reason: Failure, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, str(self))


#: What onnxruntime puts before its messages: an error code and a location in its source.
_ONNXRUNTIME_PREFIXES = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |/\S+\.(?:cc|h):\d+ .*?\) (?=[A-Z])|\S+\.(?:cc|h):\d+ \w+ "
)


def first_line(error: BaseException) -> str:
    """The first line of a library's exception; the name of its type if its message is empty."""
    message = _ONNXRUNTIME_PREFIXES.sub("", (str(error).splitlines() or [""])[0])
    return message.strip().rstrip(".") or type(error).__name__


def install_hint(extra: str) -> str:
    """The command that installs a missing extra (or several, separated by commas).

    Whoever installed from the sources gets the command that does so again: no index has them.
    """
    return f"run pip install '{_source_folder() or 'boatinfer'}[{extra}]'"


def _source_folder() -> str | None:
    """The folder of sources that boatinfer was installed from (PEP 610), if it is still there."""
    import importlib.metadata
    import json
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        recorded = importlib.metadata.distribution("boatinfer").read_text("direct_url.json")
        origin = json.loads(recorded or "{}")
        folder = url2pathname(urlsplit(origin["url"]).path)
        local = "dir_info" in origin and Path(folder, "pyproject.toml").is_file()
    except (importlib.metadata.PackageNotFoundError, KeyError, OSError, ValueError):
        return None
    return folder if local else None
