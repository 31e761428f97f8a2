"""One worker process, seen from its supervisor."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boatinfer.isolation.forked import ForkedProcess, may_fork
from boatinfer.isolation.journal import keep_journal, shared_memory
from boatinfer.isolation.worker import End, serve

__all__ = ["Died", "WorkerProcess", "keep", "prepare", "start"]

Put = Callable[["WorkerProcess", Any], object]


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
    """A worker process that has been started: forked if that is safe, or as a command.

    Attributes:
        journal: what its threads have in hand.
    """

    def __init__(self) -> None:
        self._surroundings = _surroundings()
        tied = threading.current_thread() is threading.main_thread()
        with shared_memory() as (journal, name, handles):
            self.journal = journal

            def work() -> None:
                keep_journal(journal)
                serve(tied)

            self._process = ForkedProcess(work) if may_fork() else _spawned(name, handles, tied)
        self._said: deque[bytes] = deque(maxlen=_LINES)
        self._sending = threading.Lock()
        self._task: Any = None
        self._put: Put | None = None
        self._waiting: list[Any] = []
        self._delivering = threading.Lock()
        self._listener, self._receiver = _thread(self._listen), _thread(self._receive)

    def send(self, message: Any) -> None:
        """Sends a message; to a process that has died, nothing is sent."""
        stdin = self._process.stdin
        assert stdin is not None
        with self._sending, contextlib.suppress(OSError, ValueError):  # closed, or broken
            pickle.dump(message, stdin, pickle.HIGHEST_PROTOCOL)
            stdin.flush()

    def give(self, task: Any) -> None:
        """Gives it a task; its messages wait until `receive` takes them."""
        self._task, self._put = task, None
        self.send(task)

    def has(self, task: Any) -> bool:
        """Whether it was given this task, and nobody has received anything yet."""
        return self._put is None and self._task == task

    def receive(self, put: Put) -> None:
        """From now on its messages go to ``put``, from a thread; the last is `Died`."""
        with self._delivering:
            for message in self._waiting:
                put(self, message)
            self._waiting.clear()
            self._put = put

    def _deliver(self, message: Any) -> None:
        with self._delivering:
            if self._put is None:
                self._waiting.append(message)
            else:
                self._put(self, message)

    def end_task(self) -> None:
        """Tells it that there is no more to do of its task."""
        self._task = self._put = None
        self.send(End())

    def takes(self, task: Any) -> bool:
        """Whether it lives, in what surrounds this process now, and has this task or none."""
        return (
            self._process.poll() is None
            and self._surroundings == _surroundings()
            and (self._task is None or self.has(task))
        )

    def _receive(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        # It ends, perhaps in the middle of a message.
        with stdout, contextlib.suppress(Exception):
            while True:
                self._deliver(pickle.load(stdout))
        self._wait()
        self._deliver(Died())

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


def _spawned(journal: str, handles: tuple[int, ...], tied: bool) -> subprocess.Popen[bytes]:
    """Starts Python anew; its arguments are those of `boatinfer.isolation.worker.main`."""
    flags = ["-X", "utf8"] if sys.flags.utf8_mode else []
    boot = _BOOT.format([os.fspath(path) for path in sys.path])
    return subprocess.Popen(
        [sys.executable, *flags, "-c", boot, journal, "tied" if tied else "free"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=handles,
        start_new_session=True,  # Ctrl-C is the supervisor's affair
    )


def _thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, name="boatinfer-worker", daemon=True)
    thread.start()
    return thread


def _surroundings() -> tuple[Any, ...]:
    """What a process inherits, and what it does may depend on."""
    folder = None
    with contextlib.suppress(OSError):  # it has been removed
        folder = Path.cwd()
    return dict(os.environ), folder, list(sys.path)


#: A process that waits for a task.
_spare: list[WorkerProcess] = []
_taking = threading.Lock()


def prepare(task: Any) -> None:
    """Starts a process on a task, for the next `start`, while this one does other things.

    If a process waits already, nothing is done.
    """
    with _taking:
        if not _spare:
            _spare.append(WorkerProcess())
            _spare[0].give(task)


def keep(process: WorkerProcess) -> None:
    """Keeps a process that has done its task for the next `start`; ends it if there is one."""
    with _taking:
        if not _spare:
            _spare.append(process)
            return
    process.close()


def start(task: Any, put: Put) -> WorkerProcess:
    """Starts a worker process on a task; its messages go to ``put``, from another thread.

    Raises:
        OSError: the system has no room for another process.
        RuntimeError: or for another thread.
    """
    with _taking:
        process = _spare.pop() if _spare else None
    if process is not None and not process.takes(task):
        process.close()
        process = None
    if process is None:
        process = WorkerProcess()
    if not process.has(task):
        process.give(task)
    process.receive(put)
    return process
