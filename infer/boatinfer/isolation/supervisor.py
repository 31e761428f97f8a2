"""Hands batches to a worker process, and finds out what its death is to be blamed on."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from boatinfer.errors import BoatinferError, Failure
from boatinfer.isolation.journal import WHOLE_BATCH
from boatinfer.isolation.process import Died, WorkerProcess, keep, start
from boatinfer.isolation.worker import Batch, Done, Raised, Ready, Task

__all__ = ["IMAGE_TIMEOUT", "Supervisor", "WorkerDiedError"]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Default time limit for one image, in seconds.
IMAGE_TIMEOUT = 120.0
#: Time limit for opening the task, in seconds: a large model on a slow disk or a GPU.
START_TIMEOUT = 1800.0
#: Seconds that each item of a batch has at least, where all are worked on together.
_LEAST_EACH = 1.0
#: Seconds between two looks at what takes too long.
_LOOK_EVERY = 0.5
#: Deaths in a row that no item can be blamed on, until all that are in flight are tried alone.
_UNEXPLAINED = 2
#: Pauses in which memory may become free, in seconds, before a process is started once more.
_PAUSES = (1, 5, 25)
#: Time limit for an item once nothing more is wanted, in seconds.
_LAST_LIMIT = 30.0
#: Seconds that a process, or a thread, may take to end.
_GRACE = 10.0
#: The number of a batch of one item that is tried alone.
_ALONE = -1


class WorkerDiedError(BoatinferError):
    """A worker process died, and no item is to blame."""


class _Fed(NamedTuple):
    """All batches of a call of `Supervisor.results` have been handed over.

    Attributes:
        call: which call.
        error: what the batches raised, if they did.
    """

    call: object
    error: BaseException | None


class Supervisor(Generic[Item, Result]):
    """Works on items in a worker process, which is replaced when it dies or hangs.

    Args:
        task: what the process does.
        lost: makes the result of an item that ended its process: called with the item, the
            reason (``crashed`` or ``timed_out``), and a sentence.
        timeout: time limit for one item, in seconds.

    Attributes:
        seconds: of each stage of work, by name, of all processes so far.
        replaced: how many processes died or were ended because they hung.
    """

    def __init__(
        self, task: Task, lost: Callable[[Item, Failure, str], Result], timeout: float
    ) -> None:
        self._task, self._lost, self._timeout = task, lost, timeout
        self._events: SimpleQueue[tuple[WorkerProcess | None, Any]] = SimpleQueue()
        self._in_flight: dict[int, list[Item]] = {}
        self._changing = threading.Lock()  # what is in flight, or the process
        self._hung_at: float | None = None  # when the process was killed for taking too long
        self._next_look = 0.0
        self._overdue = False  # whether the process was ended because it did not become ready
        self._call: object = None
        self._stopped: Callable[[], object] = lambda: False
        self._fed: _Fed | None = None
        self._settings: Any = None
        self._numbers = itertools.count(1)
        self._before: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.replaced = 0
        self._idle = self._closed = False  # whether the process is ready and has raised nothing
        self._process = self._start()

    def close(self) -> None:
        """Ends the worker process, or keeps it for another task if it is sound and has no work."""
        if self._closed:
            return
        self._closed = True
        if self._idle and not self._in_flight:
            self._process.end_task()
            keep(self._process)
        else:
            self._process.close()

    def opened(self) -> Any:
        """Waits until the task is open; gives what its service says of itself.

        Raises:
            WorkerDiedError: the process died again and again, or took too long.
            BoatinferError: of the task.
        """
        return self._made_ready(started=True).info

    def begin(self, settings: Any) -> None:
        """Gives the process the settings for `Service.work`; once, after `opened`."""
        self._settings = settings
        self._process.send(settings)

    def results(
        self,
        batches: Iterable[list[Item]],
        ahead: int,
        alone: Callable[[Item], bool] = lambda _: False,
        stopped: Callable[[], object] = lambda: False,
    ) -> Generator[list[Result]]:
        """Works on batches; to be called after `begin`.

        Args:
            batches: taken in a thread, as there is room.
            ahead: how many batches the process may have waiting or in work.
            alone: tells the items that are to be tried at the end, each alone.
            stopped: tells that no more is wanted: what then hangs or has crashed is given up.

        Yields:
            The results of some items, as they are done, in any order.

        Raises:
            BoatinferError: of the worker's.
            WorkerDiedError: the process cannot be kept running.
        """
        if self._in_flight or not self._idle:  # an earlier call was given up
            self._in_flight.clear()
            self._replace()
        room, stop, self._fed = threading.Semaphore(ahead), threading.Event(), None
        self._call, self._stopped = stop, stopped
        later: list[Item] = []
        feeder = threading.Thread(
            target=self._feed, args=(batches, room, stop, alone, later), daemon=True
        )
        feeder.start()
        try:
            yield from self._collect(room)
            for item in later:
                yield from self._alone(item)
        finally:
            stop.set()
            room.release()
            feeder.join(_GRACE)  # it may be taking a batch

    def _feed(
        self,
        batches: Iterable[list[Item]],
        room: threading.Semaphore,
        stop: threading.Event,
        alone: Callable[[Item], bool],
        later: list[Item],
    ) -> None:
        """Hands batches over as there is room; runs in a thread."""
        error = None
        try:
            for batch in batches:
                later += filter(alone, batch)
                items = [item for item in batch if not alone(item)]
                if not items:
                    continue
                room.acquire()
                if stop.is_set():
                    break
                with self._changing:
                    number = next(self._numbers)
                    self._in_flight[number] = items
                    self._process.send(Batch(number, items))
        except BaseException as raised:  # it is raised where the results are taken
            error = raised
        self._events.put((None, _Fed(stop, error)))

    def _collect(self, room: threading.Semaphore) -> Iterator[list[Result]]:
        """Gives results until all batches are handed over and done."""
        unexplained = 0
        while self._fed is None or self._in_flight:
            event = self._next_event()
            if isinstance(event, Done):
                unexplained = 0
                self._note_seconds(event)
                if self._in_flight.pop(event.number, None) is not None:
                    room.release()
                    yield event.results
            elif isinstance(event, Died):
                self._idle = False
                if self._stopped():
                    return  # the next run does what was in flight
                suspects = self._suspects()
                unexplained = 0 if suspects else unexplained + 1
                yield from self._recover(suspects, unexplained, room)

    def _note_seconds(self, done: Done) -> None:
        self.seconds = self._before | {
            stage: self._before.get(stage, 0.0) + seconds for stage, seconds in done.seconds.items()
        }

    def _next_event(self) -> Any:
        """The next message of the present process, or None for now; kills one that hangs."""
        if self._events.empty() and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_EVERY
            if self._hangs():
                return Died()
        try:
            process, event = self._events.get(timeout=_LOOK_EVERY)
        except Empty:
            return None
        if isinstance(event, _Fed) and event.call is self._call:
            self._fed = event
            if event.error is not None:
                raise event.error
        if process is not self._process:
            return None
        if isinstance(event, Raised):
            self._idle = False
            raise event.error
        return event

    def _hangs(self) -> bool:
        """Kills the process if it takes too long; whether even that did not end it."""
        now = time.monotonic()
        if self._hung_at is not None:
            return now - self._hung_at > _GRACE
        limit = min(self._timeout, _LAST_LIMIT) if self._stopped() else self._timeout
        for number, index, since in self._process.journal.entries():
            items = len(self._in_flight.get(number, [None])) if index == WHOLE_BATCH else 1
            if now - since > max(limit, items * _LEAST_EACH):
                self._hung_at = now
                self._process.kill()
                break
        return False

    def _suspects(self) -> list[tuple[int, list[Item]]]:
        """The items that the dead process had in hand, and the batches that they are of."""
        suspects = []
        for number, index, _ in self._process.journal.entries():
            items = self._in_flight.get(number, [])
            suspects.append((number, items if index == WHOLE_BATCH else items[index : index + 1]))
        return [(number, items) for number, items in suspects if items]

    def _recover(
        self, suspects: list[tuple[int, list[Item]]], unexplained: int, room: threading.Semaphore
    ) -> Iterator[list[Result]]:
        """Replaces the process; tries each suspect alone, and sends the rest again."""
        with self._changing:  # nothing new is handed over meanwhile
            if unexplained > _UNEXPLAINED:
                suspects = list(self._in_flight.items())
                if not suspects:
                    raise self._unstartable()
            self._replace()
            for number, items in suspects:
                rest = self._in_flight[number]
                for item in items:
                    rest = [other for other in rest if other is not item]
                    self._in_flight[number] = rest
                    yield from self._alone(item)
            for number, rest in list(self._in_flight.items()):
                if rest and not self._stopped():
                    self._process.send(Batch(number, rest))
                else:
                    del self._in_flight[number]
                    room.release()

    def _alone(self, item: Item) -> Iterator[list[Result]]:
        """Gives the result of one item, on which the process works alone.

        Nothing is given if no more is wanted. A death without the item in hand is not its
        fault: the process was about to die before; then it is tried once more.
        """
        for last in (False, True):
            if self._stopped():
                return
            done = self._try(item)
            if done is not None:
                yield done.results
                return
            if self._stopped():
                return
            blamed = last or any(e.number == _ALONE for e in self._process.journal.entries())
            reason, words = self._verdict()
            self._replace()
            if blamed:
                yield [self._lost(item, reason, words)]
                return

    def _try(self, item: Item) -> Done | None:
        """Works on one item; None if the process died or hung."""
        self._idle = False
        self._process.send(Batch(_ALONE, [item]))
        while True:
            event = self._next_event()
            if isinstance(event, Done) and event.number == _ALONE:
                if self._hung_at is not None:  # it was done just as it was given up
                    self._replace()
                self._idle = True
                return event
            if isinstance(event, Died):
                return None

    def _verdict(self) -> tuple[Failure, str]:
        """Why the process that had one item alone is dead."""
        if self._hung_at is not None:
            return (
                Failure.TIMED_OUT,
                f"the image was not done after {self._timeout:g} seconds",
            )
        words = self._process.last_words()
        return (
            Failure.CRASHED,
            f"the process that worked on the image {self._process.ending()}"
            f"{f': {words}' if words else ''}",
        )

    def _replace(self) -> None:
        """Starts a new process in the place of the dead one."""
        self._before, self._hung_at = dict(self.seconds), None
        self.replaced += 1
        with contextlib.suppress(OSError):
            self._process.close()
        self._made_ready(started=False)
        self._process.send(self._settings)

    def _made_ready(self, *, started: bool) -> Ready:
        """Waits until the process is ready; starts another one where it dies or cannot start.

        Args:
            started: whether there is a process to wait for already.
        """
        for pause in (*_PAUSES, None):
            if started or self._restarted():
                ready = self._wait_until_ready()
                if isinstance(ready, Ready):
                    return ready
                self._process.close()
            started = False
            if self._overdue or pause is None or self._stopped():
                break
            time.sleep(pause)
        raise self._unstartable()

    def _restarted(self) -> bool:
        """Whether the system let us start another process."""
        try:
            self._process = self._start()
        except (OSError, RuntimeError, MemoryError):  # no process, no thread, no memory
            return False
        return True

    def _start(self) -> WorkerProcess:
        return start(self._task, lambda process, event: self._events.put((process, event)))

    def _wait_until_ready(self) -> Ready | Died:
        """The first message of the process; what else there is meanwhile keeps its order."""
        others = []
        deadline = time.monotonic() + START_TIMEOUT
        try:
            while True:
                process, event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
                if process is not self._process:
                    others.append((process, event))
                elif isinstance(event, Raised):
                    raise event.error
                elif isinstance(event, Ready | Died):  # else of the task before
                    self._idle = isinstance(event, Ready)
                    return event
        except Empty:
            self._overdue = True
            return Died()
        finally:
            for other in others:
                self._events.put(other)

    def _unstartable(self) -> WorkerDiedError:
        """What to say when no process can be kept running."""
        if self._overdue:
            return WorkerDiedError(
                f"the worker process was not ready within {START_TIMEOUT / 60:g} minutes; look at "
                "the disk that the model is on, and at the GPU."
            )
        words = self._process.last_words()
        return WorkerDiedError(
            f"the worker process {self._process.ending()} again and again"
            f"{f' ({words})' if words else ''}, and no image is to blame; give the machine more "
            "memory, or report it. What was done is kept, and the next run continues from there."
        )
