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
_MYSTERIES = 2
#: Seconds that a process, or a thread, may take to end.
_GRACE = 10.0
#: The number of a batch of one item that is tried alone.
_ALONE = -1


class WorkerDiedError(BoatinferError):
    """A worker process died, and no item is to blame."""


class _Fed(NamedTuple):
    """All batches have been handed over, or what they raised."""

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
            WorkerDiedError: the process died, or took too long.
            BoatinferError: of the task.
        """
        ready = self._wait_until_ready()
        if isinstance(ready, Ready):
            return ready.info
        words = self._process.last_words()
        raise WorkerDiedError(
            f"the worker process {self._process.ending()} before the first image"
            f"{f' ({words})' if words else ''}; run again, and report it if it stays so."
        )

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
            stopped: tells that no more of these are wanted.

        Yields:
            The results of some items, as they are done, in any order.

        Raises:
            BoatinferError: of the worker's.
            WorkerDiedError: the process cannot be kept running.
        """
        room, stop, self._fed = threading.Semaphore(ahead), threading.Event(), None
        later: list[Item] = []
        feeder = threading.Thread(
            target=self._feed, args=(batches, room, stop, alone, later), daemon=True
        )
        feeder.start()
        try:
            yield from self._collect(room)
            for item in itertools.takewhile(lambda _: not stopped(), later):
                yield [self._alone(item)]
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
        self._events.put((None, _Fed(error)))

    def _collect(self, room: threading.Semaphore) -> Iterator[list[Result]]:
        """Gives results until all batches are handed over and done."""
        mysteries = 0
        while self._fed is None or self._in_flight:
            event = self._next_event()
            if isinstance(event, Done):
                mysteries = 0
                self._note_seconds(event)
                if self._in_flight.pop(event.number, None) is not None:
                    room.release()
                    yield event.results
            elif isinstance(event, Died):
                suspects = self._suspects()
                mysteries = 0 if suspects else mysteries + 1
                yield from self._recover(suspects, mysteries, room)

    def _note_seconds(self, done: Done) -> None:
        self.seconds = self._before | {
            stage: self._before.get(stage, 0.0) + seconds for stage, seconds in done.seconds.items()
        }

    def _next_event(self) -> Any:
        """The next message of the present process, or None for now; kills one that hangs."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_EVERY
            if self._hangs():
                return Died()
        try:
            process, event = self._events.get(timeout=_LOOK_EVERY)
        except Empty:
            return None
        if isinstance(event, _Fed):
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
        for number, index, since in self._process.journal.entries():
            items = len(self._in_flight.get(number, [None])) if index == WHOLE_BATCH else 1
            if now - since > max(self._timeout, items * _LEAST_EACH):
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
        self, suspects: list[tuple[int, list[Item]]], mysteries: int, room: threading.Semaphore
    ) -> Iterator[list[Result]]:
        """Replaces the process; tries each suspect alone, and sends the rest again."""
        with self._changing:  # nothing new is handed over meanwhile
            if mysteries > _MYSTERIES:
                suspects = list(self._in_flight.items())
                if not suspects:
                    raise self._unstartable()
            self._replace()
            for number, items in suspects:
                rest = self._in_flight[number]
                for item in items:
                    rest = [other for other in rest if other is not item]
                    self._in_flight[number] = rest
                    yield [self._alone(item)]
            for number, rest in list(self._in_flight.items()):
                if rest:
                    self._process.send(Batch(number, rest))
                else:
                    del self._in_flight[number]
                    room.release()

    def _alone(self, item: Item) -> Result:
        """Works on one item while the process does nothing else."""
        self._idle = False
        self._process.send(Batch(_ALONE, [item]))
        while True:
            event = self._next_event()
            if isinstance(event, Done) and event.number == _ALONE:
                self._idle = True
                result: Result = event.results[0]
                return result
            if isinstance(event, Died):
                reason, words = self._verdict()
                self._replace()
                return self._lost(item, reason, words)

    def _verdict(self) -> tuple[Failure, str]:
        """Why the process that had one item alone is dead."""
        if self._hung_at is not None:
            return (
                Failure.TIMED_OUT,
                f"the image was not done after {self._timeout:g} seconds (--image-timeout)",
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
        for pause in (1, 5, 25):  # seconds, in which memory may become free
            self._process = self._start()
            if isinstance(self._wait_until_ready(), Ready):
                self._process.send(self._settings)
                return
            self._process.close()
            time.sleep(pause)
        raise self._unstartable()

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
            self._process.kill()
            return Died()
        finally:
            for other in others:
                self._events.put(other)

    def _unstartable(self) -> WorkerDiedError:
        words = self._process.last_words()
        return WorkerDiedError(
            f"the worker process {self._process.ending()} again and again"
            f"{f' ({words})' if words else ''}, and no image is to blame; is there enough memory? "
            "What was done is kept, and the next run continues from there."
        )
