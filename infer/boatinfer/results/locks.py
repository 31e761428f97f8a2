"""Who may write into a results folder: one run alone, or the shards of one split.

``OUT/.lock`` is held by a run that wants the folder for itself as long as it goes on. A shard
holds it for the moment in which it takes the lock of its own, ``OUT/shards/I-of-N.lock``, and
sees that no shard of another split holds one.
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

__all__ = ["SHARDS", "held", "held_by"]

#: The folder, in a results folder, of what belongs to single shards.
SHARDS = "shards"

#: Seconds that a shard waits for others which are just starting.
_START_SECONDS = 20.0

#: Seconds that any run waits for a lock: longer than a reader who asks who holds it.
_LOOK_SECONDS = 0.1


@contextlib.contextmanager
def held(out: Place, shard: Shard | None) -> Iterator[Callable[[], None]]:
    """Holds a results folder, which must exist.

    Args:
        out: the folder.
        shard: lets other shards of the same split in; None lets nobody in.

    Yields:
        What to call before something is written: it raises if the folder is held no more.

    Raises:
        BusyError: another run holds it.
        OutputError: it cannot be written.
    """
    folder = out / SHARDS
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context(contextlib.ExitStack())
        check = _take(gate, out / ".lock", out, _START_SECONDS if shard else _LOOK_SECONDS)
        for lock in sorted(folder.glob("[1-9]*-of-*.lock")):
            other = Shard.parse(lock.stem)
            if shard is None or other.count != shard.count:
                _refuse_held(lock, f"{out}, shard {other},")
        if shard is not None:
            with translate_write_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            check = _take(stack, folder / f"{shard.name}.lock", f"{out}, shard {shard},")
            gate.close()
        yield check


def held_by(out: Place, shard: Shard | None = None) -> str | None:
    """Which process holds a results folder for itself, or a shard of it, in words; None if none."""
    return _holder(out / SHARDS / f"{shard.name}.lock" if shard else out / ".lock")


def _take(
    stack: contextlib.ExitStack, lock: Place, what: object, timeout: float = _LOOK_SECONDS
) -> Callable[[], None]:
    """Acquires a lock until the stack closes; gives what `held` does."""
    if isinstance(lock, BucketPath):
        return _take_lease(stack, lock, timeout)
    file = FileLock(str(lock), timeout=timeout, poll_interval=_LOOK_SECONDS / 10)
    with translate_write_errors(lock.parent):
        try:
            file.acquire()
        except Timeout:
            raise _busy(what, _said(lock)) from None
        stack.callback(_release, file)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        note = _note(lock)
        stack.callback(_forget, note)
        who = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        note.write_text(who, encoding="utf-8")
    return lambda: None


def _release(lock: FileLock) -> None:
    with contextlib.suppress(OSError):  # of a disk that has gone; it ends with the process
        lock.release()


def _take_lease(
    stack: contextlib.ExitStack, lock: BucketPath, timeout: float
) -> Callable[[], None]:
    ends = time.monotonic() + timeout
    while True:
        lease = Lease(lock)
        try:
            stack.enter_context(lease.hold())
        except BusyError:
            if time.monotonic() > ends:
                raise
            time.sleep(min(1.0, timeout))
        else:
            return lease.check


def _refuse_held(lock: Place, what: str) -> None:
    """Refuses a lock that somebody holds."""
    if isinstance(lock, BucketPath):
        who = current_holder(lock)
        if who is not None:
            raise _busy(what, who)
        return
    with contextlib.ExitStack() as moment:
        _take(moment, lock, what)


def _holder(lock: Place) -> str | None:
    if isinstance(lock, BucketPath):
        return current_holder(lock)
    if not _note(lock).exists():
        return None
    try:
        with FileLock(str(lock), timeout=0):
            return None  # it was killed, and its note has stayed
    except (Timeout, OSError):  # or the lock may not be asked: then the note counts
        return _said(lock)


def _note(lock: Place) -> Place:
    """Where the holder of a lock notes its name; ``.lock`` itself has no suffix."""
    return lock.parent / (lock.name.removesuffix(".lock") + ".holder")


def _said(lock: Place) -> str:
    try:
        return _note(lock).read_bytes()[:200].decode(errors="replace")
    except OSError:
        return "another process"


def _forget(note: Place) -> None:
    with contextlib.suppress(OSError):
        note.unlink(missing_ok=True)


def _busy(what: object, who: str) -> BusyError:
    return BusyError(
        f"{what} is held by {who}; wait until that run has ended, or choose another -o."
    )
