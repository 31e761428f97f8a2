"""A worker process forked from this one, with all modules loaded already; Linux only."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

__all__ = ["ForkedProcess", "can_fork"]

_POLL_INTERVAL = 0.01  # seconds


#: Names of threads that hold no lock during a fork: pyarrow's allocator has fork handlers
#: (jemalloc, src/background_thread.c).
_HARMLESS_THREADS = {"jemalloc_bg_thd"}


#: Libraries that hang in a forked child if the parent has used them.
_UNFORKABLE_LIBRARIES = {"pyvips"}


def can_fork() -> bool:
    """Whether forking is safe: another thread might hold a lock that the child needs."""
    if (
        sys.platform != "linux"
        or threading.active_count() > 1
        or _UNFORKABLE_LIBRARIES & sys.modules.keys()
    ):
        return False
    try:
        names = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    except OSError:
        return False
    return len([name for name in names if name not in _HARMLESS_THREADS]) == 1


class ForkedProcess:
    """A forked child process, with the attributes and methods of `subprocess.Popen` in use.

    Args:
        run: called in the child, which ends when it returns.

    Attributes:
        pid: the child's PID.
        stdin: writes to its standard input.
        stdout: reads from its standard output.
        stderr: reads from its standard error.
    """

    def __init__(self, run: Callable[[], object]) -> None:
        (stdin, to_stdin), (from_stdout, stdout) = os.pipe(), os.pipe()
        from_stderr, stderr = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _run_child(run, stdin, stdout, stderr)
        for handle in (stdin, stdout, stderr):
            os.close(handle)
        self.stdin = os.fdopen(to_stdin, "wb")
        self.stdout = os.fdopen(from_stdout, "rb")
        self.stderr = os.fdopen(from_stderr, "rb")
        self.returncode: int | None = None
        self._wait_lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code, or the negative signal number; None while the process runs."""
        with self._wait_lock:
            if self.returncode is None:
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:  # it has been waited for elsewhere
                    pid, status = self.pid, 0
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float) -> None:
        """Waits until the process has ended, at most ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < end:
            time.sleep(_POLL_INTERVAL)

    def kill(self) -> None:
        """Kills the process."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _run_child(run: Callable[[], object], *standard_streams: int) -> NoReturn:
    """Detaches the child from its parent, calls ``run``, and exits."""
    try:
        os.setsid()  # Ctrl-C goes to the parent only
        gc.freeze()  # the child does not collect the parent's objects
        for number, handle in enumerate(standard_streams):
            os.dup2(handle, number)
        # Files and locks of the parent must not stay open in the child. Their descriptors are
        # replaced, not closed: the parent's objects would close any file that reused them.
        null_device = os.open(os.devnull, os.O_RDWR)
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
            if int(name) > 2:
                with contextlib.suppress(OSError):
                    os.dup2(null_device, int(name))
        run()
    finally:
        os._exit(1)
