"""Locks of a results folder, for one run, or for the shards of one split.

A run that is not a shard holds ``OUT/.lock`` until it ends. A shard holds it only while it acquires
its own lock, ``OUT/shards/I-of-N.lock``, and checks that no shard of another split holds one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from filelock import FileLock, Timeout

from boatinfer.errors import BusyError
from boatinfer.results.store.shards import Shard
from boatinfer.storage.base import Place
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.files import translate_write_errors
from boatinfer.storage.lease import Lease, current_holder

__all__ = ["SHARDS", "lock_holder", "lock_results"]

#: Name of the folder, in a results folder, for the files of single shards.
SHARDS = "shards"

#: Seconds that a shard waits for other shards that are starting.
_START_SECONDS = 20.0

#: Seconds that any run waits for a lock: longer than `lock_holder` holds it.
_POLL_SECONDS = 0.1


@contextlib.contextmanager
def lock_results(out: Place, shard: Shard | None) -> Iterator[Callable[[], None]]:
    """Locks a results folder, which must exist.

    Args:
        out: the folder.
        shard: the shard to lock, which other shards of the same split may run beside; None locks
            the folder for one run.

    Yields:
        A function to call before every write, which raises if the lock has been lost.

    Raises:
        BusyError: another run has locked it.
        OutputError: it cannot be written.
    """
    folder = out / SHARDS
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context(contextlib.ExitStack())
        check = _acquire(gate, out / ".lock", out, _START_SECONDS if shard else _POLL_SECONDS)
        for lock in sorted(folder.glob("[1-9]*-of-*.lock")):
            other = Shard.parse(lock.stem)
            if shard is None or other.count != shard.count:
                _refuse_held(lock, f"{out}, shard {other},")
        if shard is not None:
            with translate_write_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            check = _acquire(stack, folder / f"{shard.name}.lock", f"{out}, shard {shard},")
            gate.close()
        yield check


def lock_holder(out: Place, shard: Shard | None = None) -> str | None:
    """Describes the process that has locked a results folder, or a shard of it; None if none."""
    return _holder(out / SHARDS / f"{shard.name}.lock" if shard else out / ".lock")


def _acquire(
    stack: contextlib.ExitStack, lock: Place, name: object, timeout: float = _POLL_SECONDS
) -> Callable[[], None]:
    """Acquires a lock until the stack closes; returns what `lock_results` yields."""
    if isinstance(lock, BucketPath):
        return _acquire_lease(stack, lock, timeout)
    file = FileLock(str(lock), timeout=timeout, poll_interval=_POLL_SECONDS / 10)
    with translate_write_errors(lock.parent):
        try:
            file.acquire()
        except Timeout:
            raise _busy_error(name, _read_holder(lock)) from None
        stack.callback(_release, file)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder_file = _holder_file(lock)
        stack.callback(_remove_holder_file, holder_file)
        holder = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        holder_file.write_text(holder, encoding="utf-8")
    return lambda: None


def _release(lock: FileLock) -> None:
    with contextlib.suppress(OSError):  # the disk is gone; the lock ends with the process
        lock.release()


def _acquire_lease(
    stack: contextlib.ExitStack, lock: BucketPath, timeout: float
) -> Callable[[], None]:
    deadline = time.monotonic() + timeout
    while True:
        lease = Lease(lock)
        try:
            stack.enter_context(lease.held())
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(min(1.0, timeout))
        else:
            return lease.check


def _refuse_held(lock: Place, name: str) -> None:
    """Raises BusyError if a lock is held."""
    if isinstance(lock, BucketPath):
        holder = current_holder(lock)
        if holder is not None:
            raise _busy_error(name, holder)
        return
    with contextlib.ExitStack() as stack:
        _acquire(stack, lock, name)


def _holder(lock: Place) -> str | None:
    if isinstance(lock, BucketPath):
        return current_holder(lock)
    if not _holder_file(lock).exists():
        return None
    try:
        with FileLock(str(lock), timeout=0):
            return None  # the holder was killed, and its file has stayed
    except (Timeout, OSError):  # on an OSError the file counts
        return _read_holder(lock)


def _holder_file(lock: Place) -> Place:
    """The file that describes the holder of a lock; ``.lock`` itself has no suffix."""
    return lock.parent / (lock.name.removesuffix(".lock") + ".holder")


def _read_holder(lock: Place) -> str:
    try:
        return _holder_file(lock).read_bytes()[:200].decode(errors="replace")
    except OSError:
        return "another process"


def _remove_holder_file(holder_file: Place) -> None:
    with contextlib.suppress(OSError):
        holder_file.unlink(missing_ok=True)


def _busy_error(name: object, holder: str) -> BusyError:
    return BusyError(
        f"{name} is held by {holder}; wait until that run has ended, or choose another -o."
    )
