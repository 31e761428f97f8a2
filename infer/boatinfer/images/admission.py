"""Large images take turns, so that the images in work stay within a bound of memory.

The bound belongs to the process, and whoever reads images obeys it. What the process itself takes
(interpreter, libraries, model, batches) is measured whenever no large image is in work; what is
left is given to large images in the order in which they come. Small ones do not wait: together
they take at most a `_SHARE` of the bound, and so do small files.
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

__all__ = ["Gate", "Turn", "limited", "limits", "loading", "room"]

#: What a process may use by default, of all that there is: others need some.
_MOST = 0.75

#: What small images, small files, and files read ahead may take of the bound, each.
_SHARE = 1 / 16

#: So little does not wait, whatever the bound.
_ALWAYS = 8 * 2**20


#: Measurements of which the least counts: some see what is just being freed.
_MEASURED = 8

#: Seconds after which who waits says that the image does not hang.
_LOOK_EVERY = 1.0

_ENOUGH = contextlib.nullcontext()


class Gate:
    """Lets in whoever there is room for, in the order in which they come.

    Args:
        room: bytes.
    """

    def __init__(self, room: float) -> None:
        self.room, self.held = room, 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    def enter(self, size: int, mine: int = 0) -> None:
        """Waits until there is room.

        Args:
            size: bytes.
            mine: what the caller holds already; it then comes before all others, who might wait
                for just that.
        """
        me = object()
        with self._changed:
            self._waiting.insert(0 if mine else len(self._waiting), me)
            try:
                while not self._changed.wait_for(
                    lambda: self._waiting[0] is me and self._fits(size, mine), _LOOK_EVERY
                ):
                    restart_item_clock()
                self.held += size
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()

    def leave(self, size: int) -> None:
        """Gives room back."""
        with self._changed:
            self.held -= size
            self._changed.notify_all()

    def open(self) -> None:
        """Lets everybody in from now on."""
        with self._changed:
            self.room = float("inf")
            self._changed.notify_all()

    def _fits(self, size: int, mine: int) -> bool:
        del mine
        return self.held + size <= self.room


class _Memory(Gate):
    """The gate of all large images of this process.

    Args:
        bound: bytes that the process may use.
    """

    def __init__(self, bound: int) -> None:
        super().__init__(0)
        self._bound = bound
        self._used: deque[int] = deque(maxlen=_MEASURED)

    def leave(self, size: int) -> None:
        release_freed_memory()  # before others are let in, who measure
        super().leave(size)

    def _fits(self, size: int, mine: int) -> bool:
        if not self.held:
            self._used.append(memory_in_use())
            self.room = max(0, int(self._bound * (1 - 3 * _SHARE)) - min(self._used))
        if self.held == mine and size + mine > self.room:
            raise ImageError(
                Failure.TOO_LARGE,
                f"reading it takes about {format_size(size + mine)} of memory, and "
                f"{format_size(int(self.room))} are left for it; allow more with --memory",
            )
        return super()._fits(size, mine)


class Limits:
    """What this process may use.

    Args:
        memory: bytes; if None, most of what the system gives.
        threads: how many read images at the same time; if None, one for each usable CPU.
        share: of the memory; the rest is another process's.

    Attributes:
        turn: the place of large files, see `Turn`.
    """

    def __init__(
        self, memory: int | None = None, threads: int | None = None, share: float = 1.0
    ) -> None:
        self._memory, self.threads, self._share = memory, threads or usable_cpus(), share
        self.turn = Gate(1)

    @cached_property
    def memory(self) -> int:
        """The bound, in bytes; the system is asked when somebody needs to know."""
        return int((self._memory or usable_memory() * _MOST) * self._share)

    @cached_property
    def gate(self) -> _Memory:
        """The gate of large images."""
        return _Memory(self.memory)

    @cached_property
    def small(self) -> int:
        """Bytes of a small file or image, of which one in each thread does not count."""
        return max(_ALWAYS, int(self.memory * _SHARE / self.threads))

    @cached_property
    def ahead(self) -> int:
        """Bytes of files that may be read ahead of the work."""
        return int(self.memory * _SHARE)


_limits = Limits()


def limits() -> Limits:
    """The limits of this process: those of the system, or what `limited` sets."""
    return _limits


@contextlib.contextmanager
def limited(memory: int | None, threads: int | None, share: float = 1.0) -> Iterator[Limits]:
    """Sets the limits of this process; the arguments are those of `Limits`."""
    global _limits  # noqa: PLW0603
    before, _limits = _limits, Limits(memory, threads, share)
    try:
        yield _limits
    finally:
        _limits = before


class _Held(threading.local):
    """What a thread holds of the bound.

    Attributes:
        turn: the turn that it is in.
        decoding: whether it is reading an image; what that reads in turn, is counted with it.
    """

    turn: Turn | None = None
    decoding = False


_held = _Held()


class Turn:
    """While it lasts, a large file that this thread loads has the place of large files.

    There is one such place, so that no more than one large file waits in memory to be decoded.
    """

    __slots__ = ("_limits", "size")

    def __init__(self) -> None:
        self.size = 0

    def __enter__(self) -> Turn:
        _held.turn = self
        return self

    def __exit__(self, *_: object) -> None:
        _held.turn = None
        if self.size:
            self._limits.gate.leave(self.size)
            self._limits.turn.leave(1)

    def take(self, size: int) -> None:
        """Waits for the place, if the file is large."""
        if self.size or size <= _ALWAYS or size <= limits().small:
            return
        self._limits = limits()
        self._limits.turn.enter(1)
        try:
            self._limits.gate.enter(size)
        except BaseException:
            self._limits.turn.leave(1)
            raise
        self.size = size


def loading(size: int) -> None:
    """Is called before this thread loads a file of a size, in bytes."""
    if _held.turn is not None:
        _held.turn.take(size)


def room(size: int) -> contextlib.AbstractContextManager[None]:
    """Enough memory to decode an image; entering waits for it.

    Args:
        size: bytes beside those of its file.

    Raises:
        ImageError: ``too_large``, on entering.
    """
    if size <= _ALWAYS or _held.decoding or size <= limits().small:
        return _ENOUGH
    return _admitted(size)


@contextlib.contextmanager
def _admitted(size: int) -> Iterator[None]:
    gate, turn = limits().gate, _held.turn
    gate.enter(size, turn.size if turn else 0)
    _held.decoding = True
    try:
        yield
    finally:
        _held.decoding = False
        gate.leave(size)
