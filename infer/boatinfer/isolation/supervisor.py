"""Sends batches to a worker process, and finds the item that makes it crash or hang."""

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
from boatinfer.isolation.process import Died, WorkerProcess, keep_for_reuse, start_worker
from boatinfer.isolation.worker import Batch, Done, Raised, Ready, Task

__all__ = ["IMAGE_TIMEOUT", "Supervisor", "WorkerDiedError"]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Default time limit for one image, in seconds.
IMAGE_TIMEOUT = 120.0
#: Time limit for opening the task, in seconds: a large model on a slow disk or a GPU.
START_TIMEOUT = 1800.0
#: Minimum time limit per item, in seconds, where a batch is processed at once.
_MIN_SECONDS_PER_ITEM = 1.0
#: Seconds between two checks for items that take too long.
_CHECK_INTERVAL = 0.5
#: After more deaths in a row without a suspect, all items in flight are tried alone.
_MAX_UNEXPLAINED_DEATHS = 2
#: Pauses before a process is restarted, in seconds: memory may become free meanwhile.
_RESTART_PAUSES = (1, 5, 25)
#: Time limit for an item once the run is to stop, in seconds.
_TIMEOUT_AFTER_STOP = 30.0
#: Seconds that a process, or a thread, may take to end.
_GRACE = 10.0
#: Batch number of a single item that is tried alone.
_SINGLE_ITEM_BATCH = -1


class WorkerDiedError(BoatinferError):
    """A worker process died, and no item is to blame."""


class _AllHandedOver(NamedTuple):
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
        make_failure: makes the result of an item that ended its process: called with the item,
            the reason (``crashed`` or ``timed_out``), and a message.
        timeout: time limit for one item, in seconds.

    Attributes:
        seconds: time of each stage of work, by name, of all processes so far.
        replaced: how many processes died or were ended because they hung.
    """

    def __init__(
        self, task: Task, make_failure: Callable[[Item, Failure, str], Result], timeout: float
    ) -> None:
        self._task, self._make_failure, self._timeout = task, make_failure, timeout
        self._events: SimpleQueue[tuple[WorkerProcess | None, Any]] = SimpleQueue()
        self._in_flight: dict[int, list[Item]] = {}
        self._in_flight_lock = threading.Lock()  # guards _in_flight and _process
        self._killed_at: float | None = None  # when the process was killed because it hung
        self._next_check = 0.0
        self._startup_timed_out = False
        self._call: object = None
        self._stopped: Callable[[], object] = lambda: False
        self._all_handed_over: _AllHandedOver | None = None
        self._settings: Any = None
        self._batch_numbers = itertools.count(1)
        self._earlier_seconds: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.replaced = 0
        self._idle = self._closed = False  # whether the process is ready and has raised nothing
        self._process = self._start()

    def close(self) -> None:
        """Ends the worker process, or keeps it for another task if it is ready and idle."""
        if self._closed:
            return
        self._closed = True
        if self._idle and not self._in_flight:
            self._process.end_task()
            keep_for_reuse(self._process)
        else:
            self._process.close()

    def wait_until_open(self) -> Any:
        """Waits until the task is open; returns the ``info`` of its service.

        Raises:
            WorkerDiedError: the process died again and again, or took too long.
            BoatinferError: raised by the task.
        """
        return self._ensure_ready(started=True).info

    def begin(self, settings: Any) -> None:
        """Sends the settings for `Service.work`; to be called once, after `wait_until_open`."""
        self._settings = settings
        self._process.send(settings)

    def results(
        self,
        batches: Iterable[list[Item]],
        ahead: int,
        try_alone: Callable[[Item], bool] = lambda _: False,
        stopped: Callable[[], object] = lambda: False,
    ) -> Generator[list[Result]]:
        """Works on batches; to be called after `begin`.

        Args:
            batches: taken in a thread, as there is room.
            ahead: how many batches may be waiting or in progress in the process.
            try_alone: whether an item is to be tried at the end, alone.
            stopped: whether the run is to stop: items that then hang or crash are given up.

        Yields:
            Lists of results, as batches are done, in any order.

        Raises:
            BoatinferError: raised by the worker.
            WorkerDiedError: the process cannot be kept running.
        """
        if self._in_flight or not self._idle:  # an earlier call was not finished
            self._in_flight.clear()
            self._replace()
        room, stop, self._all_handed_over = threading.Semaphore(ahead), threading.Event(), None
        self._call, self._stopped = stop, stopped
        items_alone: list[Item] = []
        feeder = threading.Thread(
            target=self._hand_over, args=(batches, room, stop, try_alone, items_alone), daemon=True
        )
        feeder.start()
        try:
            yield from self._collect_results(room)
            for item in items_alone:
                yield from self._results_alone(item)
        finally:
            stop.set()
            room.release()
            feeder.join(_GRACE)  # it may be taking a batch

    def _hand_over(
        self,
        batches: Iterable[list[Item]],
        room: threading.Semaphore,
        stop: threading.Event,
        try_alone: Callable[[Item], bool],
        items_alone: list[Item],
    ) -> None:
        """Sends batches to the process as there is room; runs in a thread."""
        error = None
        try:
            for batch in batches:
                items_alone += filter(try_alone, batch)
                items = [item for item in batch if not try_alone(item)]
                if not items:
                    continue
                room.acquire()
                if stop.is_set():
                    break
                with self._in_flight_lock:
                    number = next(self._batch_numbers)
                    self._in_flight[number] = items
                    self._process.send(Batch(number, items))
        except BaseException as raised:  # raised again by _next_event
            error = raised
        self._events.put((None, _AllHandedOver(stop, error)))

    def _collect_results(self, room: threading.Semaphore) -> Iterator[list[Result]]:
        """Yields results until all batches are handed over and done."""
        unexplained = 0
        while self._all_handed_over is None or self._in_flight:
            event = self._next_event()
            if isinstance(event, Done):
                unexplained = 0
                self._update_seconds(event)
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

    def _update_seconds(self, done: Done) -> None:
        self.seconds = self._earlier_seconds | {
            stage: self._earlier_seconds.get(stage, 0.0) + seconds
            for stage, seconds in done.seconds.items()
        }

    def _next_event(self) -> Any:
        """The next message of the process, or None if there is none yet; kills a hung process."""
        if self._events.empty() and time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + _CHECK_INTERVAL
            if self._kill_if_hung():
                return Died()
        try:
            process, event = self._events.get(timeout=_CHECK_INTERVAL)
        except Empty:
            return None
        if isinstance(event, _AllHandedOver) and event.call is self._call:
            self._all_handed_over = event
            if event.error is not None:
                raise event.error
        if process is not self._process:
            return None
        if isinstance(event, Raised):
            self._idle = False
            raise event.error
        return event

    def _kill_if_hung(self) -> bool:
        """Kills the process if an item takes too long; True if even that did not end it."""
        now = time.monotonic()
        if self._killed_at is not None:
            return now - self._killed_at > _GRACE
        limit = min(self._timeout, _TIMEOUT_AFTER_STOP) if self._stopped() else self._timeout
        for number, index, since in self._process.journal.entries():
            items = len(self._in_flight.get(number, [None])) if index == WHOLE_BATCH else 1
            if now - since > max(limit, items * _MIN_SECONDS_PER_ITEM):
                self._killed_at = now
                self._process.kill()
                break
        return False

    def _suspects(self) -> list[tuple[int, list[Item]]]:
        """The items that the dead process was working on, by batch number."""
        suspects = []
        for number, index, _ in self._process.journal.entries():
            items = self._in_flight.get(number, [])
            suspects.append((number, items if index == WHOLE_BATCH else items[index : index + 1]))
        return [(number, items) for number, items in suspects if items]

    def _recover(
        self, suspects: list[tuple[int, list[Item]]], unexplained: int, room: threading.Semaphore
    ) -> Iterator[list[Result]]:
        """Replaces the process; tries each suspect alone, and sends the other items again."""
        with self._in_flight_lock:  # no new batches meanwhile
            if unexplained > _MAX_UNEXPLAINED_DEATHS:
                suspects = list(self._in_flight.items())
                if not suspects:
                    raise self._unstartable_error()
            self._replace()
            for number, items in suspects:
                rest = self._in_flight[number]
                for item in items:
                    rest = [other for other in rest if other is not item]
                    self._in_flight[number] = rest
                    yield from self._results_alone(item)
            for number, rest in list(self._in_flight.items()):
                if rest and not self._stopped():
                    self._process.send(Batch(number, rest))
                else:
                    del self._in_flight[number]
                    room.release()

    def _results_alone(self, item: Item) -> Iterator[list[Result]]:
        """Yields the result of one item, which the process works on alone.

        Yields nothing if the run is to stop. If the process dies before it begins the item, the
        item is tried once more: the death had another cause.
        """
        for is_last in (False, True):
            if self._stopped():
                return
            done = self._work_alone(item)
            if done is not None:
                yield done.results
                return
            if self._stopped():
                return
            is_to_blame = is_last or any(
                entry.number == _SINGLE_ITEM_BATCH for entry in self._process.journal.entries()
            )
            reason, message = self._cause_of_death()
            self._replace()
            if is_to_blame:
                yield [self._make_failure(item, reason, message)]
                return

    def _work_alone(self, item: Item) -> Done | None:
        """Works on one item; None if the process died or hung."""
        self._idle = False
        self._process.send(Batch(_SINGLE_ITEM_BATCH, [item]))
        while True:
            event = self._next_event()
            if isinstance(event, Done) and event.number == _SINGLE_ITEM_BATCH:
                if self._killed_at is not None:  # it finished just as it was killed
                    self._replace()
                self._idle = True
                return event
            if isinstance(event, Died):
                return None

    def _cause_of_death(self) -> tuple[Failure, str]:
        """Why the process that worked on a single item died."""
        if self._killed_at is not None:
            return Failure.TIMED_OUT, f"the image was not done after {self._timeout:g} seconds"
        detail = self._process.last_stderr_line()
        return (
            Failure.CRASHED,
            f"the process that worked on the image {self._process.describe_exit()}"
            f"{f': {detail}' if detail else ''}",
        )

    def _replace(self) -> None:
        """Replaces the dead process."""
        self._earlier_seconds, self._killed_at = dict(self.seconds), None
        self.replaced += 1
        with contextlib.suppress(OSError):
            self._process.close()
        self._ensure_ready(started=False)
        self._process.send(self._settings)

    def _ensure_ready(self, *, started: bool) -> Ready:
        """Waits until the process is ready; restarts it if it dies or cannot be started.

        Args:
            started: whether the process has been started already.
        """
        for pause in (*_RESTART_PAUSES, None):
            if started or self._try_restart():
                ready = self._wait_until_ready()
                if isinstance(ready, Ready):
                    return ready
                self._process.close()
            started = False
            if self._startup_timed_out or pause is None or self._stopped():
                break
            time.sleep(pause)
        raise self._unstartable_error()

    def _try_restart(self) -> bool:
        """Starts another process; False if the system has no resources for it."""
        try:
            self._process = self._start()
        except (OSError, RuntimeError, MemoryError):  # no process, no thread, no memory
            return False
        return True

    def _start(self) -> WorkerProcess:
        return start_worker(self._task, lambda process, event: self._events.put((process, event)))

    def _wait_until_ready(self) -> Ready | Died:
        """Waits for the first message of the process; other events are queued again, in order."""
        other_events = []
        deadline = time.monotonic() + START_TIMEOUT
        try:
            while True:
                process, event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
                if process is not self._process:
                    other_events.append((process, event))
                elif isinstance(event, Raised):
                    raise event.error
                elif isinstance(event, Ready | Died):  # others belong to the previous task
                    self._idle = isinstance(event, Ready)
                    return event
        except Empty:
            self._startup_timed_out = True
            return Died()
        finally:
            for other in other_events:
                self._events.put(other)

    def _unstartable_error(self) -> WorkerDiedError:
        """The error if no process can be kept running."""
        if self._startup_timed_out:
            return WorkerDiedError(
                f"the worker process was not ready within {START_TIMEOUT / 60:g} minutes; look at "
                "the disk that the model is on, and at the GPU."
            )
        detail = self._process.last_stderr_line()
        return WorkerDiedError(
            f"the worker process {self._process.describe_exit()} again and again"
            f"{f' ({detail})' if detail else ''}, and no image is to blame; give the machine more "
            "memory, or report it. What was done is kept, and the next run continues from there."
        )
