"""What each thread of a worker process is working on, in memory that survives the process."""

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
    "in_hand",
    "keep_journal",
    "open_journal",
    "shared_memory",
    "still_in_hand",
    "working",
]

#: Index of an `Entry` that stands for all items of the batch.
WHOLE_BATCH = -1

#: Batch number, index of the item, since when; the number is 0 where a thread is idle.
_SLOT = struct.Struct("=qqd")
#: Threads beyond this many are not watched.
_SLOTS = 1024


class Entry(NamedTuple):
    """What one thread has in hand.

    Attributes:
        number: of the batch.
        item: index of the item in the batch, or `WHOLE_BATCH`.
        since: seconds of the monotonic clock, which all processes of a machine share.
    """

    number: int
    item: int
    since: float


class Journal:
    """A piece of memory that two processes share, with a slot for each thread of the worker.

    Args:
        memory: at least as long as `open_journal` makes it.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._slots = itertools.count()
        self._thread = threading.local()

    def begin(self, number: int) -> None:
        """Notes that this thread begins a batch."""
        if not hasattr(self._thread, "offset"):
            slot = next(self._slots)
            self._thread.offset = slot * _SLOT.size if slot < _SLOTS else None
        self._thread.number = number
        self.note(WHOLE_BATCH)

    def note(self, index: int) -> None:
        """Notes which item of its batch this thread works on."""
        offset = getattr(self._thread, "offset", None)
        if offset is not None:
            _SLOT.pack_into(self._memory, offset, self._thread.number, index, time.monotonic())
            self._thread.index = index

    def renew(self) -> None:
        """Notes that this thread has waited for a reason that is not its item's."""
        self.note(getattr(self._thread, "index", WHOLE_BATCH))

    def end(self) -> None:
        """Notes that this thread has nothing in hand."""
        self._thread.number = 0
        self.note(0)

    def entries(self) -> list[Entry]:
        """What the threads have, or had at their death, in hand."""
        whole = _SLOT.iter_unpack(self._memory[: _SLOTS * _SLOT.size])
        return [Entry(*slot) for slot in whole if slot[0]]


#: The journal of this process, if it is a worker.
_journal: Journal | None = None


def in_hand(index: int) -> None:
    """Notes that this thread begins to work on an item of its batch; costs half a microsecond."""
    if _journal is not None:
        _journal.note(index)


def still_in_hand() -> None:
    """Starts the time limit of the item in hand anew; call it while waiting for one's turn."""
    if _journal is not None:
        _journal.renew()


@contextlib.contextmanager
def working(number: int) -> Iterator[None]:
    """Notes that this thread has a batch in hand for as long as the ``with`` lasts."""
    if _journal is None:
        yield
        return
    _journal.begin(number)
    yield  # not ended after an exception: it ends the process
    _journal.end()


def open_journal(name: str) -> None:
    """Makes the shared memory that `shared_memory` named the journal of this process."""
    size = _SLOTS * _SLOT.size
    if sys.platform == "win32":
        keep_journal(Journal(mmap.mmap(-1, size, tagname=name)))
    else:
        keep_journal(Journal(mmap.mmap(int(name), size)))


def keep_journal(journal: Journal) -> None:
    """Makes a journal the one of this process."""
    global _journal  # noqa: PLW0603
    _journal = journal


@contextlib.contextmanager
def shared_memory() -> Iterator[tuple[Journal, str, tuple[int, ...]]]:
    """Makes the memory of a journal.

    Yields:
        The journal, the name by which a child process opens it, and the file descriptors that
        the child must inherit. After the ``with`` no more children can.
    """
    size = _SLOTS * _SLOT.size
    if sys.platform == "win32":
        import uuid

        name = f"boatinfer-{uuid.uuid4()}"
        yield Journal(mmap.mmap(-1, size, tagname=name)), name, ()
        return
    with anonymous_file("boatinfer-journal") as file:
        file.truncate(size)
        handle = file.fileno()
        yield Journal(mmap.mmap(handle, size)), str(handle), (handle,)
