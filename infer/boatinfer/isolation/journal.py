"""Records in shared memory which item each thread of a worker process is working on."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import struct
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from boatinfer.anonymous_files import anonymous_file

__all__ = [
    "WHOLE_BATCH",
    "Entry",
    "Journal",
    "begin_item",
    "open_journal",
    "restart_item_clock",
    "set_journal",
    "shared_memory",
    "working_on_batch",
]

#: Index of an `Entry` that stands for all items of the batch.
WHOLE_BATCH = -1

#: Batch number (0 if the thread is idle), index of the item, start time.
_SLOT = struct.Struct("=qqd")
#: Further threads are not recorded.
_MAX_THREADS = 1024


class Entry(NamedTuple):
    """What one thread is working on.

    Attributes:
        number: number of the batch.
        item: index of the item in the batch, or `WHOLE_BATCH`.
        since: start time in seconds of the monotonic clock, which all processes share.
    """

    number: int
    item: int
    since: float


class Journal:
    """Shared memory of two processes, with a slot for each thread of the worker.

    Args:
        memory: room for `_MAX_THREADS` slots.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._slots = itertools.count()
        self._thread = threading.local()

    def begin_batch(self, number: int) -> None:
        """Records that this thread begins a batch."""
        if not hasattr(self._thread, "offset"):
            slot = next(self._slots)
            self._thread.offset = slot * _SLOT.size if slot < _MAX_THREADS else None
        self._thread.number = number
        self.set_item(WHOLE_BATCH)

    def set_item(self, index: int) -> None:
        """Records which item of its batch this thread works on."""
        offset = getattr(self._thread, "offset", None)
        if offset is not None:
            _SLOT.pack_into(self._memory, offset, self._thread.number, index, time.monotonic())
            self._thread.index = index

    def restart_clock(self) -> None:
        """Restarts the time of the current item, after a wait that is not the item's fault."""
        self.set_item(getattr(self._thread, "index", WHOLE_BATCH))

    def end_batch(self) -> None:
        """Records that this thread is idle."""
        self._thread.number = 0
        self.set_item(0)

    def entries(self) -> list[Entry]:
        """What the threads are working on, or were when the process died."""
        slots = _SLOT.iter_unpack(self._memory[: _MAX_THREADS * _SLOT.size])
        return [Entry(*slot) for slot in slots if slot[0]]


#: The journal of this process; None if it is not a worker.
_journal: Journal | None = None


def begin_item(index: int) -> None:
    """Records that this thread begins an item of its batch; takes half a microsecond."""
    if _journal is not None:
        _journal.set_item(index)


def restart_item_clock() -> None:
    """Restarts the time limit of the current item; to be called while waiting for memory."""
    if _journal is not None:
        _journal.restart_clock()


@contextlib.contextmanager
def working_on_batch(number: int) -> Iterator[None]:
    """Records that this thread works on a batch within the ``with``."""
    if _journal is None:
        yield
        return
    _journal.begin_batch(number)
    yield  # no end_batch after an exception: that ends the process
    _journal.end_batch()


def open_journal(name: str) -> None:
    """Opens the journal of this process by the name that `shared_memory` gave."""
    size = _MAX_THREADS * _SLOT.size
    if sys.platform == "win32":
        set_journal(Journal(mmap.mmap(-1, size, tagname=name)))
    else:
        set_journal(Journal(mmap.mmap(int(name), size)))


def set_journal(journal: Journal) -> None:
    """Sets the journal of this process."""
    global _journal  # noqa: PLW0603
    _journal = journal


@contextlib.contextmanager
def shared_memory() -> Iterator[tuple[Journal, str, tuple[int, ...]]]:
    """Creates a journal in shared memory.

    Yields:
        The journal, the name by which a child process opens it, and the file descriptors that
        the child must inherit. After the ``with`` no further child can open it.
    """
    size = _MAX_THREADS * _SLOT.size
    if sys.platform == "win32":
        import uuid

        name = f"boatinfer-{uuid.uuid4()}"
        yield Journal(mmap.mmap(-1, size, tagname=name)), name, ()
        return
    with anonymous_file("boatinfer-journal") as file:
        file.truncate(size)
        handle = file.fileno()
        yield Journal(mmap.mmap(handle, size)), str(handle), (handle,)
