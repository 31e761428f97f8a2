"""A worker process as its supervisor sees it."""

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

from boatinfer.isolation.forked import ForkedProcess, can_fork
from boatinfer.isolation.journal import set_journal, shared_memory
from boatinfer.isolation.worker import End, serve

__all__ = ["Died", "WorkerProcess", "keep_for_reuse", "start_in_advance", "start_worker"]

Receiver = Callable[["WorkerProcess", Any], object]


_BOOTSTRAP = "import sys; sys.path[:] = {}; from boatinfer.isolation.worker import main; main()"
#: Seconds that a process may take to end.
_GRACE = 5.0
#: Number of last lines of its standard error that are kept.
_STDERR_LINES = 20

_SIGNALS = {
    "SIGABRT": "aborted",
    "SIGBUS": "bus error",
    "SIGFPE": "arithmetic error",
    "SIGILL": "illegal instruction",
    "SIGKILL": "killed, most often for want of memory",
    "SIGSEGV": "segmentation fault",
}


class Died:
    """The last event of a worker process: it has ended."""


class WorkerProcess:
    """A started worker process: forked if that is safe, otherwise a new Python.

    Attributes:
        journal: what its threads are working on.
    """

    def __init__(self) -> None:
        self._start_environment = _environment()
        die_with_parent = threading.current_thread() is threading.main_thread()
        with shared_memory() as (journal, name, handles):
            self.journal = journal

            def work() -> None:
                set_journal(journal)
                serve(die_with_parent)

            self._process = (
                ForkedProcess(work) if can_fork() else _spawned(name, handles, die_with_parent)
            )
        self._stderr_lines: deque[bytes] = deque(maxlen=_STDERR_LINES)
        self._send_lock = threading.Lock()
        self._task: Any = None
        self._receiver: Receiver | None = None
        self._undelivered: list[Any] = []
        self._delivery_lock = threading.Lock()
        self._stderr_thread = _thread(self._read_stderr)
        self._stdout_thread = _thread(self._read_messages)

    def send(self, message: Any) -> None:
        """Sends a message; does nothing if the process has died."""
        stdin = self._process.stdin
        assert stdin is not None
        with self._send_lock, contextlib.suppress(OSError, ValueError):  # closed, or broken
            pickle.dump(message, stdin, pickle.HIGHEST_PROTOCOL)
            stdin.flush()

    def assign(self, task: Any) -> None:
        """Sends a task; the messages are kept until `deliver_to` is called."""
        self._task, self._receiver = task, None
        self.send(task)

    def has_unread_task(self, task: Any) -> bool:
        """Whether it works on this task and its messages have no receiver yet."""
        return self._receiver is None and self._task == task

    def deliver_to(self, receiver: Receiver) -> None:
        """Passes all messages to ``receiver``, from a thread; the last is `Died`."""
        with self._delivery_lock:
            for message in self._undelivered:
                receiver(self, message)
            self._undelivered.clear()
            self._receiver = receiver

    def _deliver(self, message: Any) -> None:
        with self._delivery_lock:
            if self._receiver is None:
                self._undelivered.append(message)
            else:
                self._receiver(self, message)

    def end_task(self) -> None:
        """Tells the process that its task has no more batches."""
        self._task = self._receiver = None
        self.send(End())

    def can_take(self, task: Any) -> bool:
        """Whether it runs, in an unchanged environment, and has this task or none."""
        return (
            self._process.poll() is None
            and self._start_environment == _environment()
            and (self._task is None or self.has_unread_task(task))
        )

    def _read_messages(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        # The stream may end in the middle of a message.
        with stdout, contextlib.suppress(Exception):
            while True:
                self._deliver(pickle.load(stdout))
        self._wait()
        self._deliver(Died())

    def _read_stderr(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        with stderr, contextlib.suppress(OSError, ValueError):
            self._stderr_lines.extend(iter(lambda: stderr.readline(4096), b""))

    def kill(self) -> None:
        """Kills the process."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """Kills the process, and waits until it has ended."""
        stdin = self._process.stdin
        assert stdin is not None
        self.kill()
        with contextlib.suppress(OSError, ValueError):
            stdin.close()
        self._stdout_thread.join(_GRACE)

    def _wait(self) -> None:
        # A process that hangs in a disk access cannot be killed; it is not waited for either.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._stderr_thread.join(_GRACE)

    def describe_exit(self) -> str:
        """Describes how the process ended: by which signal, or with which exit code."""
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

    def last_stderr_line(self) -> str:
        """The last line that the process wrote to standard error; empty if none."""
        lines = [line.decode(errors="replace").strip() for line in self._stderr_lines]
        return next((line for line in reversed(lines) if line), "")


def _spawned(
    journal: str, handles: tuple[int, ...], die_with_parent: bool
) -> subprocess.Popen[bytes]:
    """Starts a new Python, with the arguments of `boatinfer.isolation.worker.main`."""
    flags = ["-X", "utf8"] if sys.flags.utf8_mode else []
    script = _BOOTSTRAP.format([os.fspath(path) for path in sys.path])
    mode = "die-with-parent" if die_with_parent else "independent"
    return subprocess.Popen(
        [sys.executable, *flags, "-c", script, journal, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=handles,
        start_new_session=True,  # Ctrl-C goes to the supervisor only
    )


def _thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, name="boatinfer-worker", daemon=True)
    thread.start()
    return thread


def _environment() -> tuple[Any, ...]:
    """What a child process inherits: environment variables, working folder and module path."""
    folder = None
    with contextlib.suppress(OSError):  # the folder has been deleted
        folder = Path.cwd()
    return dict(os.environ), folder, list(sys.path)


#: A process that is ready for a task; at most one.
_spare: list[WorkerProcess] = []
_spare_lock = threading.Lock()


def start_in_advance(task: Any) -> None:
    """Starts a process on a task in the background, for the next `start_worker`.

    Does nothing if there is a spare process already.
    """
    with _spare_lock:
        if not _spare:
            _spare.append(WorkerProcess())
            _spare[0].assign(task)


def keep_for_reuse(process: WorkerProcess) -> None:
    """Keeps a finished process for the next `start_worker`; ends it if there is a spare one."""
    with _spare_lock:
        if not _spare:
            _spare.append(process)
            return
    process.close()


def start_worker(task: Any, receiver: Receiver) -> WorkerProcess:
    """Starts a worker process on a task; passes its messages to ``receiver``, from a thread.

    Raises:
        OSError: the system cannot start another process.
        RuntimeError: the system cannot start another thread.
    """
    with _spare_lock:
        process = _spare.pop() if _spare else None
    if process is not None and not process.can_take(task):
        process.close()
        process = None
    if process is None:
        process = WorkerProcess()
    if not process.has_unread_task(task):
        process.assign(task)
    process.deliver_to(receiver)
    return process
