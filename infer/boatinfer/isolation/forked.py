"""A worker process forked from this one, which so has everything loaded already; Linux only."""

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

__all__ = ["ForkedProcess", "may_fork"]

_LOOK_EVERY = 0.01  # seconds


#: Threads of the system's names that hold no lock over a fork: pyarrow's allocator has handlers
#: for that (jemalloc, src/background_thread.c).
_HARMLESS = {"jemalloc_bg_thd"}


#: Libraries that hang in a child once the parent has used them.
_NOT_FORKED = {"pyvips"}


def may_fork() -> bool:
    """Whether this process has one thread: another might hold a lock that the child needs."""
    if sys.platform != "linux" or threading.active_count() > 1 or _NOT_FORKED & sys.modules.keys():
        return False
    try:
        names = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    except OSError:
        return False
    return len([name for name in names if name not in _HARMLESS]) == 1


class ForkedProcess:
    """A child of this process, with the attributes and methods of `subprocess.Popen` that matter.

    Args:
        run: called in the child, which ends when it returns.

    Attributes:
        pid: the child's process number.
        stdin: writes to its standard input.
        stdout: reads from its standard output.
        stderr: reads from its standard error.
    """

    def __init__(self, run: Callable[[], object]) -> None:
        (stdin, to), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _work(run, stdin, stdout, stderr)
        for handle in (stdin, stdout, stderr):
            os.close(handle)
        self.stdin = os.fdopen(to, "wb")
        self.stdout, self.stderr = os.fdopen(out, "rb"), os.fdopen(err, "rb")
        self.returncode: int | None = None
        self._waiting = threading.Lock()

    def poll(self) -> int | None:
        """The exit code, or the negative number of the signal; None while it lives."""
        with self._waiting:
            if self.returncode is None:
                try:
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                except ChildProcessError:  # somebody else has waited for it
                    pid, status = self.pid, 0
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float) -> None:
        """Waits until it has ended, or the time is over."""
        end = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < end:
            time.sleep(_LOOK_EVERY)

    def kill(self) -> None:
        """Ends it at once."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _work(run: Callable[[], object], *standard: int) -> NoReturn:
    """Turns the child into a process of its own, and runs it to its end."""
    try:
        os.setsid()  # Ctrl-C is the parent's affair
        gc.freeze()  # what the parent has made is not for the child to clean up
        for number, handle in enumerate(standard):
            os.dup2(handle, number)
        # Files and locks of the parent must not stay open in the child. Their numbers stay
        # taken, for the parent's objects would close whatever had them.
        nothing = os.open(os.devnull, os.O_RDWR)
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
            if int(name) > 2:
                with contextlib.suppress(OSError):
                    os.dup2(nothing, int(name))
        run()
    finally:
        os._exit(1)
