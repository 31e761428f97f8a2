"""One worker process, seen from its supervisor."""

from __future__ import annotations

import contextlib
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from boatinfer.isolation.journal import shared_memory

__all__ = ["Died", "WorkerProcess", "prepare", "start"]

_BOOT = "import sys; sys.path[:] = {}; from boatinfer.isolation.worker import main; main()"
#: Seconds that a process may take to end, once told so.
_GRACE = 5.0
#: Lines of its standard error that are kept.
_LINES = 20

_SIGNALS = {
    "SIGABRT": "aborted",
    "SIGBUS": "bus error",
    "SIGFPE": "arithmetic error",
    "SIGILL": "illegal instruction",
    "SIGKILL": "killed, most often for want of memory",
    "SIGSEGV": "segmentation fault",
}


class Died:
    """The last message of a worker process that has ended."""


class WorkerProcess:
    """A worker process that has been started.

    Args:
        modules: names of those that it loads before it has a task.

    Attributes:
        journal: what its threads have in hand.
    """

    def __init__(self, *modules: str) -> None:
        boot = _BOOT.format(sys.path)
        tied = "tied" if threading.current_thread() is threading.main_thread() else "free"
        flags = ["-X", "utf8"] if sys.flags.utf8_mode else []
        with shared_memory() as (self.journal, name, handles):
            self._process = subprocess.Popen(
                [sys.executable, *flags, "-c", boot, name, tied, *modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=handles,
                start_new_session=True,  # Ctrl-C is the supervisor's affair
            )
        self._said: deque[bytes] = deque(maxlen=_LINES)
        self._listener = _thread(self._listen)
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Sends a message; to a process that has died, nothing is sent."""
        stdin = self._process.stdin
        assert stdin is not None
        with self._sending, contextlib.suppress(OSError, ValueError):  # closed, or broken
            pickle.dump(message, stdin, pickle.HIGHEST_PROTOCOL)
            stdin.flush()

    def receive(self, put: Callable[[WorkerProcess, Any], object]) -> None:
        """Calls ``put`` with this process and each of its messages, in a thread; last `Died`."""
        stdout = self._process.stdout
        assert stdout is not None
        self._receiver = _thread(lambda: self._receive(stdout, put))

    def _receive(self, stdout: IO[bytes], put: Callable[[WorkerProcess, Any], object]) -> None:
        # It ends, perhaps in the middle of a message.
        with stdout, contextlib.suppress(Exception):
            while True:
                put(self, pickle.load(stdout))
        self._wait()
        put(self, Died())

    def _listen(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        with stderr, contextlib.suppress(OSError, ValueError):
            self._said.extend(iter(lambda: stderr.readline(4096), b""))

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """Ends it, and waits for that."""
        stdin = self._process.stdin
        assert stdin is not None
        self.kill()
        with contextlib.suppress(OSError, ValueError):
            stdin.close()
        self._receiver.join(_GRACE)

    def _wait(self) -> None:
        # One that waits for a disk for ever cannot even be killed; nor is it waited for.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._listener.join(_GRACE)

    def ending(self) -> str:
        """How it ended, in words: by which signal, or with which code."""
        code = self._process.poll()
        if code is None:
            return "did not end"
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"was ended by signal {-code} ({_SIGNALS.get(name, name)})"

    def last_words(self) -> str:
        """The last line that it wrote to standard error; empty if none."""
        lines = [line.decode(errors="replace").strip() for line in self._said]
        return next((line for line in reversed(lines) if line), "")


def _thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, name="boatinfer-worker", daemon=True)
    thread.start()
    return thread


_spare: list[WorkerProcess] = []


def prepare(*modules: str) -> None:
    """Starts a process for the next `start`, which so need not wait until modules are loaded."""
    if not _spare:
        _spare.append(WorkerProcess(*modules))


def start(task: Any, put: Callable[[WorkerProcess, Any], object]) -> WorkerProcess:
    """Starts a worker process on a task; its messages go to ``put``, from another thread."""
    process = _spare.pop() if _spare else WorkerProcess()
    process.receive(put)
    process.send(task)
    return process
