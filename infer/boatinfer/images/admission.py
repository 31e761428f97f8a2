"""Limits the memory of the images that are being read: large images wait for each other.

The limit holds for the whole process. What the process itself uses (interpreter, libraries, model,
batches) is measured whenever no large image is being decoded; the remainder is given to large
images in the order in which they come. Small images do not wait: together they use at most a
`_SHARE` of the limit, and so do small files.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from functools import cached_property

from boatinfer.cpus import usable_cpus
from boatinfer.errors import Failure, ImageError
from boatinfer.isolation.journal import restart_item_clock
from boatinfer.memory import format_size, memory_in_use, release_freed_memory, usable_memory

__all__ = [
    "Gate",
    "LargeFileSlot",
    "current_limits",
    "decoding_memory",
    "temporary_limits",
    "wait_to_load",
]

#: Default share of the usable memory that the process takes: other processes need some.
_DEFAULT_SHARE = 0.75

#: Share of the limit for small images, for small files, and for files read ahead, each.
_SHARE = 1 / 16

#: What libraries take that are loaded for the first image of their format.
_LIBRARIES = 32 * 2**20

#: What is left to the process that supervises a worker process: a multiple of what it uses, and
#: at least a share of the limit.
_SUPERVISOR_GROWTH, _SUPERVISOR_SHARE = 1.5, 1 / 8

#: Size up to which nothing waits, whatever the limit.
_ALWAYS_SMALL = 8 * 2**20


#: Number of measurements, of which the smallest counts: some include memory just being freed.
_MEASUREMENTS = 8

#: Seconds after which a waiting thread restarts the time limit of its image.
_WAIT_INTERVAL = 1.0

_NO_WAIT = contextlib.nullcontext()


class Gate:
    """A fair counting semaphore: threads enter in order, as there is capacity.

    Args:
        capacity: in bytes, or another unit.
    """

    def __init__(self, capacity: float) -> None:
        self.capacity, self.in_use = capacity, 0
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    def enter(self, size: int, already_held: int = 0) -> None:
        """Waits until there is capacity.

        Args:
            size: capacity to take.
            already_held: capacity that the caller holds already; it then goes to the head of the
                queue, because others might be waiting for that.
        """
        ticket = object()
        with self._changed:
            self._queue.insert(0 if already_held else len(self._queue), ticket)
            try:
                while not self._changed.wait_for(
                    lambda: self._queue[0] is ticket and self._fits(size, already_held),
                    _WAIT_INTERVAL,
                ):
                    restart_item_clock()
                self.in_use += size
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def leave(self, size: int) -> None:
        """Gives capacity back."""
        with self._changed:
            self.in_use -= size
            self._changed.notify_all()

    def open(self) -> None:
        """Removes the limit."""
        with self._changed:
            self.capacity = float("inf")
            self._changed.notify_all()

    def _fits(self, size: int, already_held: int) -> bool:
        del already_held
        return self.in_use + size <= self.capacity


class _DecodingGate(Gate):
    """The gate of large images: capacity is the memory that the process itself does not use.

    Args:
        memory_limit: bytes that the process may use.
    """

    def __init__(self, memory_limit: int) -> None:
        super().__init__(0)
        self._limit = int(memory_limit * (1 - 3 * _SHARE)) - _LIBRARIES
        self._measurements: deque[int] = deque(maxlen=_MEASUREMENTS)

    def leave(self, size: int) -> None:
        release_freed_memory()  # before others enter, and measure the memory in use
        super().leave(size)

    def _fits(self, size: int, already_held: int) -> bool:
        if not self.in_use:
            self._measurements.append(memory_in_use())
            self.capacity = max(0, self._limit - min(self._measurements))
        if self.in_use == already_held and size + already_held > self.capacity:
            raise ImageError(
                Failure.TOO_LARGE,
                f"reading it takes about {format_size(size + already_held)} of memory, and "
                f"{format_size(int(self.capacity))} are left for it; allow more with --memory",
            )
        return super()._fits(size, already_held)


class Limits:
    """Limits of memory and threads of this process.

    Args:
        memory: bytes; if None, a share of the usable memory.
        threads: number of threads that read images; if None, one for each usable CPU.

    Attributes:
        large_file_gate: lets in one large file at a time, see `LargeFileSlot`.
    """

    def __init__(self, memory: int | None = None, threads: int | None = None) -> None:
        self._memory, self.threads = memory, threads or usable_cpus()
        self.large_file_gate = Gate(1)

    @cached_property
    def memory(self) -> int:
        """The limit, in bytes; the default is computed on first use."""
        return int(self._memory or usable_memory() * _DEFAULT_SHARE)

    def worker_memory(self) -> int:
        """The limit of a worker process of this process, in bytes."""
        own = max(memory_in_use() * _SUPERVISOR_GROWTH, self.memory * _SUPERVISOR_SHARE)
        return self.memory - int(min(own, self.memory / 2))

    @cached_property
    def decoding_gate(self) -> _DecodingGate:
        """The gate of large images."""
        return _DecodingGate(self.memory)

    @cached_property
    def small_size(self) -> int:
        """Maximum size of a small file or image, in bytes; these do not wait."""
        return max(_ALWAYS_SMALL, int(self.memory * _SHARE / self.threads))

    @cached_property
    def read_ahead_size(self) -> int:
        """Bytes of files that may be read ahead of the work."""
        return int(self.memory * _SHARE)


_limits = Limits()


def current_limits() -> Limits:
    """The limits of this process: the defaults, or those that `temporary_limits` sets."""
    return _limits


@contextlib.contextmanager
def temporary_limits(memory: int | None, threads: int | None) -> Iterator[Limits]:
    """Sets the limits of this process within the ``with``; arguments as for `Limits`."""
    global _limits  # noqa: PLW0603
    previous, _limits = _limits, Limits(memory, threads)
    try:
        yield _limits
    finally:
        _limits = previous


class _ThreadState(threading.local):
    """The memory that a thread has been admitted for.

    Attributes:
        slot: the `LargeFileSlot` that it is in.
        decoding: whether it is decoding an image; nested images count as part of it.
    """

    slot: LargeFileSlot | None = None
    decoding = False


_thread_state = _ThreadState()


class LargeFileSlot:
    """A context in which this thread loads a file; only one large file is admitted at a time.

    So at most one large file is in memory before it is decoded.
    """

    __slots__ = ("_limits", "size")

    def __init__(self) -> None:
        self.size = 0

    def __enter__(self) -> LargeFileSlot:
        _thread_state.slot = self
        return self

    def __exit__(self, *_: object) -> None:
        _thread_state.slot = None
        if self.size:
            self._limits.decoding_gate.leave(self.size)
            self._limits.large_file_gate.leave(1)

    def take(self, size: int) -> None:
        """Waits for the slot, if the file is large."""
        if self.size or size <= _ALWAYS_SMALL or size <= current_limits().small_size:
            return
        self._limits = current_limits()
        self._limits.large_file_gate.enter(1)
        try:
            self._limits.decoding_gate.enter(size)
        except BaseException:
            self._limits.large_file_gate.leave(1)
            raise
        self.size = size


def wait_to_load(size: int) -> None:
    """To be called before loading a file of this size (bytes); waits if the file is large."""
    if _thread_state.slot is not None:
        _thread_state.slot.take(size)


def decoding_memory(size: int) -> contextlib.AbstractContextManager[None]:
    """A context with enough memory to decode an image; entering it waits.

    Args:
        size: bytes needed, without those of the file.

    Raises:
        ImageError: ``too_large``, on entering.
    """
    if size <= _ALWAYS_SMALL or _thread_state.decoding or size <= current_limits().small_size:
        return _NO_WAIT
    return _admitted(size)


@contextlib.contextmanager
def _admitted(size: int) -> Iterator[None]:
    gate, slot = current_limits().decoding_gate, _thread_state.slot
    gate.enter(size, slot.size if slot else 0)
    _thread_state.decoding = True
    try:
        yield
    finally:
        _thread_state.decoding = False
        gate.leave(size)
