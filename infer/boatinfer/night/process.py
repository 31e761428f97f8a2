"""One folder's run, in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from boatinfer.errors import BoatinferError
from boatinfer.i18n import language_of
from boatinfer.night.command import run_command
from boatinfer.night.config import Folder
from boatinfer.night.log import FolderLog
from boatinfer.night.problems import find_problem
from boatinfer.night.record import FolderResult
from boatinfer.pages.first_screen import in_words
from boatinfer.results.summary import Summary, parsed
from boatinfer.storage.documents import DocumentError
from boatinfer.storage.files import temporary_folder

__all__ = ["FolderProcess"]

#: Seconds to wait for the last words of a process that has ended.
_LAST_WORDS_SECONDS = 5.0
#: Unusual things that the sentence of a run tells at most.
_MOST_UNUSUAL = 10


class FolderProcess:
    """The process that runs a folder; its standard error is passed on but for the last sentence."""

    def __init__(self, folder: Folder, cwd: Path, started: datetime, prefix: str = "") -> None:
        """Starts it.

        Args:
            folder: what to run.
            cwd: its working folder.
            started: the time.
            prefix: stands before each line that is passed on.
        """
        self.folder = folder
        self.log = FolderLog(folder.name, prefix)
        self._started, self._clock = started, time.monotonic()
        self._signalled = 0
        self._printed = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115
        self._process = subprocess.Popen(
            run_command(folder.options),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        assert self._process.stderr is not None
        self._reader = threading.Thread(
            target=self.log.gather, args=(self._process.stderr,), daemon=True
        )
        self._reader.start()

    def ended(self, seconds: float) -> bool:
        """Whether it has ended, after a wait of so many seconds at most."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def signal(self, number: int) -> None:
        """Passes a signal on, once."""
        if not self._signalled:
            self._process.send_signal(number)
            self._signalled = number

    def kill(self) -> None:
        """Kills it."""
        self._process.kill()

    def _exit_code(self, code: int) -> int:
        if code >= 0:
            return code
        return 128 + self._signalled if self._signalled == -code else BoatinferError.exit_code

    def result(self) -> FolderResult:
        """What came of it, after its end."""
        code = self._process.wait()
        self._reader.join(_LAST_WORDS_SECONDS)  # a process that it has started may hold the pipe
        if not self._reader.is_alive() and self._process.stderr is not None:
            self._process.stderr.close()
        self.log.end(code)
        result = FolderResult(
            name=self.folder.name,
            started=self._started.isoformat(timespec="milliseconds"),
            seconds=round(time.monotonic() - self._clock, 1),
            exit_code=self._exit_code(code),
            error=_sentence(self.folder, code, self.log),
        )
        with self._printed:
            self._printed.seek(0)
            try:
                summary = parsed(self._printed.read())
            except DocumentError:  # the run has not come to its end
                return result
        return _with_figures(result, summary)


def _with_figures(result: FolderResult, summary: Summary) -> FolderResult:
    new = summary.new
    return replace(
        result,
        run=summary.run,
        sentence=in_words(summary, language_of(summary.language), most=_MOST_UNUSUAL),
        found=summary.found,
        new=new.found if new else 0,
        failed=new.failed if new else summary.failed,
        gone=summary.gone.images if summary.gone else 0,
        unusual=[unusual.text for unusual in summary.unusual],
        reasons=summary.unusual,
        error=summary.error or result.error,
    )


def _sentence(folder: Folder, code: int, log: FolderLog) -> str | None:
    """Why a run has not ended with 0; with file and line, if the file is to be changed."""
    if not code:
        return None
    problem = find_problem(folder)
    if problem is not None and problem.exit_code == code:
        return str(problem)
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            hint = ", perhaps because memory ran out" if name == "SIGKILL" else ""
            return (
                f"the process was killed by {name}{hint}; what was done is kept, and the next "
                "night goes on from there."
            )
    return log.last_words or f"it ended with {code}, and said nothing."
