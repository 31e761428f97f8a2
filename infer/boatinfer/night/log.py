"""What the run of a folder says on standard error: passed on line by line, and its end kept."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from boatinfer.logs import Level, is_json, say

__all__ = ["FolderLog"]

#: Lines that are kept.
_LINES = 200
#: What a sentence of a command begins with.
_OURS = "boatinfer: "


@dataclass(frozen=True)
class _Line:
    """A line; of one that is no JSON of ours, such as a library's, the text is all there is."""

    message: str
    level: Level = Level.WARNING
    ours: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> _Line:
        """Reads what `boatinfer.logs.say` has written, or something else."""
        try:
            fields = json.loads(text)
            level = Level[str(fields.pop("level")).upper()]
            message = str(fields.pop("message"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            ours = text.startswith(_OURS)
            return cls(text.removeprefix(_OURS), Level.ERROR if ours else Level.WARNING, ours)
        fields.pop("time", None)
        return cls(message, level, True, fields)

    @property
    def text(self) -> str:
        """The line as people read it."""
        trace = str(self.fields.get("traceback", "")).rstrip("\n")
        return trace or (f"{_OURS}{self.message}" if self.ours else self.message)


class FolderLog:
    """The lines of a run.

    Args:
        folder: name of the folder.
        prefix: stands before each line of text that is passed on.
    """

    def __init__(self, folder: str, prefix: str = "") -> None:
        self._folder, self._prefix = folder, prefix
        self._lines: deque[_Line] = deque(maxlen=_LINES)

    def gather(self, stream: IO[str]) -> None:
        """Keeps the lines of a stream, and passes them on but for the last."""
        for text in stream:
            if self._lines:
                self._pass_on(self._lines[-1])
            self._lines.append(_Line.read(text.rstrip("\n")))

    def end(self, code: int) -> None:
        """Passes the last line on, unless it is the sentence with which a command fails."""
        if not self._lines:
            return
        last = self._lines[-1]
        if code <= 0 or not last.ours or last.level is Level.CRITICAL:  # a bug has a traceback
            self._pass_on(last)

    @property
    def last_words(self) -> str:
        """The last sentence; empty if nothing was said."""
        return next((line.message for line in reversed(self._lines) if line.message.strip()), "")

    @property
    def text(self) -> str:
        """The end of the log."""
        return "\n".join(line.text for line in self._lines)

    def _pass_on(self, line: _Line) -> None:
        if is_json():
            say(line.level, line.message, **{**line.fields, "folder": self._folder})
            return
        for text in line.text.splitlines():
            say(line.level, text, head=self._prefix)
