"""Times whole processes: seconds and peak memory of each, as the system accounts them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Process", "measure"]


class Process(NamedTuple):
    """One finished process: wall seconds, CPU seconds, peak memory in MB, and what it printed."""

    seconds: float
    cpu: float
    memory: float
    output: str


#: As after an installation, Python may keep the bytecode of what it imports.
_ENVIRONMENT = {key: os.environ[key] for key in os.environ if key != "PYTHONDONTWRITEBYTECODE"}


def measure(command: Sequence[str]) -> Process:
    """Runs a command to its end.

    Raises:
        SystemExit: the command failed; its output is printed.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=_ENVIRONMENT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read().decode()
    if process.returncode != 0:
        print(printed, file=sys.stderr)
        raise SystemExit(f"{command} ended with {process.returncode}")
    return Process(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed)
