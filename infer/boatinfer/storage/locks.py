"""Locks: a file that a process holds on a disk, or a lease on an object in a bucket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from filelock import FileLock, Timeout

from boatinfer.errors import BusyError
from boatinfer.storage.base import Place
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.files import translate_write_errors
from boatinfer.storage.lease import Lease, current_holder
from boatinfer.storage.locations import is_remote

__all__ = ["LOOK_SECONDS", "busy", "hold_lock", "lock_holder", "refuse_held"]

#: Default waiting time for a lock, in seconds: longer than `lock_holder` holds one.
LOOK_SECONDS = 0.1


@contextlib.contextmanager
def hold_lock(
    lock: Place, what: object, timeout: float = LOOK_SECONDS
) -> Iterator[Callable[[], None]]:
    """Holds a lock.

    Args:
        lock: its file or object; the folder must exist.
        what: what it protects, for the message.
        timeout: seconds to wait for it.

    Yields:
        A function that raises if the lock has been lost; to be called before anything is written.

    Raises:
        BusyError: another process holds it.
        OutputError: it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        if is_remote(lock):
            yield _take_lease(stack, lock, timeout)
        else:
            _take_file(stack, lock, what, timeout)
            yield lambda: None


def lock_holder(lock: Place) -> str | None:
    """Describes the process that holds a lock; None if none does."""
    if is_remote(lock):
        return current_holder(lock)
    if not _note(lock).exists():
        return None
    try:
        with FileLock(str(lock), timeout=0):
            return None  # its holder was killed, and left its note
    except (Timeout, OSError):  # where the lock cannot be tried, the note counts
        return _read_note(lock)


def refuse_held(lock: Place, what: object) -> None:
    """Raises a `BusyError` if a process holds a lock."""
    if is_remote(lock):
        holder = current_holder(lock)
        if holder is not None:
            raise busy(what, holder)
        return
    with hold_lock(lock, what):
        pass


def busy(what: object, holder: str) -> BusyError:
    """The error of something that another process holds."""
    return BusyError(
        f"{what} is held by {holder}; wait until that run has ended, or choose another -o."
    )


def _take_file(stack: contextlib.ExitStack, lock: Place, what: object, timeout: float) -> None:
    file = FileLock(str(lock), timeout=timeout, poll_interval=LOOK_SECONDS / 10)
    with translate_write_errors(lock.parent):
        try:
            file.acquire()
        except Timeout:
            raise busy(what, _read_note(lock)) from None
        stack.callback(_release, file)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        note = _note(lock)
        stack.callback(_remove, note)
        holder = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        note.write_text(holder, encoding="utf-8")


def _take_lease(
    stack: contextlib.ExitStack, lock: BucketPath, timeout: float
) -> Callable[[], None]:
    deadline = time.monotonic() + timeout
    while True:
        lease = Lease(lock)
        try:
            stack.enter_context(lease.hold())
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(min(1.0, timeout))
        else:
            return lease.check


def _note(lock: Place) -> Place:
    """The file in which the holder of a lock names itself; ``.lock`` itself has no suffix."""
    return lock.parent / (lock.name.removesuffix(".lock") + ".holder")


def _read_note(lock: Place) -> str:
    try:
        return _note(lock).read_bytes()[:200].decode(errors="replace")
    except OSError:
        return "another process"


def _release(lock: FileLock) -> None:
    with contextlib.suppress(OSError):  # the disk has gone; the lock ends with the process
        lock.release()


def _remove(note: Place) -> None:
    with contextlib.suppress(OSError):
        note.unlink(missing_ok=True)
