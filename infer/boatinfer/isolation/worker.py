"""The worker process: receives a task, then batches; sends back their results.

The protocol, each message a pickle. To the worker: a `Task`, the settings of its service, any
number of `Batch`, and `End`, after which another task may follow; it exits at the end of its
standard input.
From the worker: `Ready` or `Raised`, then for each batch `Done`, or `Raised` at any time, which is
its last message.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, BinaryIO, Generic, NamedTuple, NoReturn, Protocol, TypeVar

from boatinfer.isolation.journal import begin_item, open_journal, working_on_batch
from boatinfer.parallel import parallel_unordered

__all__ = [
    "Batch",
    "Done",
    "EachItem",
    "End",
    "Raised",
    "Ready",
    "Service",
    "Task",
    "main",
    "serve",
]

Item = TypeVar("Item")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
#: So that the out-of-memory killer ends the worker before the process that keeps the results.
_OOM_SCORE = "500"


class Batch(NamedTuple):
    """Items to work on together, and the number of the batch, which the answer repeats."""

    number: int
    items: list[Any]


class Done(NamedTuple):
    """The results of a batch.

    Attributes:
        number: number of the batch.
        results: one per item, in order.
        seconds: time of each stage of work, by name, since the process began.
    """

    number: int
    results: list[Any]
    seconds: dict[str, float]


class End(NamedTuple):
    """There are no more batches of the task."""


class Ready(NamedTuple):
    """The task is open; ``info`` is `Service.info`."""

    info: Any


class Raised(NamedTuple):
    """An exception of the worker, with its traceback as a note."""

    error: BaseException


class Service(Protocol):
    """An open task."""

    @property
    def info(self) -> Any:
        """Sent to the supervisor; anything that can be pickled."""

    def work(
        self, settings: Any, batches: Iterator[Batch]
    ) -> contextlib.AbstractContextManager[Iterator[Done]]:
        """Works on batches in threads, each in a `journal.working_on_batch`."""

    def close(self) -> None:
        """Undoes the changes of `Task.open` to the process."""


class Task(Protocol):
    """The work of a worker process; can be pickled."""

    def open(self) -> Service:
        """Prepares the work, in the worker process."""


@dataclass(frozen=True)
class EachItem(Generic[Item, Result]):
    """The task of calling a function on every item, in threads.

    Attributes:
        work_on: called with an item; it and its results can be pickled.
        threads: number of threads.
        info: `Service.info`.
    """

    work_on: Callable[[Item], Result]
    threads: int
    info: Any = None

    def open(self) -> EachItem[Item, Result]:
        """Nothing to prepare."""
        return self

    def close(self) -> None:
        """Nothing to undo."""

    def _done(self, batch: Batch) -> Done:
        results = []
        with working_on_batch(batch.number):
            for index, item in enumerate(batch.items):
                begin_item(index)
                results.append(self.work_on(item))
        return Done(batch.number, results, {})

    def work(
        self, settings: Any, batches: Iterator[Batch]
    ) -> contextlib.AbstractContextManager[Iterator[Done]]:
        """Works on batches."""
        return parallel_unordered(self._done, batches, self.threads)


def main() -> None:
    """Runs a worker process that was started as a command.

    The command line arguments are the name of the journal and ``die-with-parent`` or
    ``independent``.
    """
    journal, die_with_parent = sys.argv[1:]
    open_journal(journal)
    serve(die_with_parent == "die-with-parent")


def serve(die_with_parent: bool) -> NoReturn:
    """Does one task after another; ends the process.

    Args:
        die_with_parent: whether the process is killed when the thread that started it ends.
    """
    requests, replies = _take_standard_streams()
    _contain_process(die_with_parent)
    messages = _message_queue(requests)
    try:
        while True:
            _do_task(_raise_if_unreadable(messages.get()), messages, replies)
    except BaseException as error:
        _report_and_exit(replies, error)


def _do_task(task: Task, messages: SimpleQueue[Any], replies: BinaryIO) -> None:
    """Does one task."""
    service = task.open()
    _send(replies, Ready(service.info))
    settings = _raise_if_unreadable(messages.get())
    if not isinstance(settings, End):
        with service.work(settings, _until_end(messages)) as results:
            try:
                for done in results:
                    _send(replies, done)
            except BaseException as error:  # other threads may wait for batches for ever
                _report_and_exit(replies, error)
    service.close()


def _until_end(messages: SimpleQueue[Any]) -> Iterator[Batch]:
    while not isinstance(message := _raise_if_unreadable(messages.get()), End):
        yield message


def _report_and_exit(replies: BinaryIO, error: BaseException) -> NoReturn:
    """Sends an exception, and ends the process at once, with all its threads."""
    _send(replies, Raised(_picklable(error)))
    os._exit(0)


def _picklable(error: BaseException) -> BaseException:
    """The exception, or a substitute that can be pickled, with its traceback as a note."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # it cannot be pickled, or not be restored
        error = RuntimeError(str(error))
    error.add_note(trace)
    return error


def _take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Reserves standard input and output for messages, so that no library writes to them."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null_device = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null_device, 0)
    os.close(null_device)
    os.dup2(2, 1)
    return requests, replies


def _contain_process(die_with_parent: bool) -> None:
    """Ties the worker's life to its supervisor's, prevents core dumps, and sets the OOM score."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the supervisor ends the process
    if sys.platform == "win32":
        return
    import resource

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        if die_with_parent:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write(_OOM_SCORE)


def _message_queue(requests: BinaryIO) -> SimpleQueue[Any]:
    """Reads messages in a thread into a queue; exits when the stream ends."""
    messages: SimpleQueue[Any] = SimpleQueue()

    def read() -> None:
        try:
            while True:
                messages.put(pickle.load(requests))
        except (EOFError, OSError):  # the supervisor is gone
            os._exit(1)
        except BaseException as error:  # such as a module that cannot be imported here
            messages.put(_Unreadable(error))

    threading.Thread(target=read, name="boatinfer-requests", daemon=True).start()
    return messages


class _Unreadable(NamedTuple):
    """A message that could not be read."""

    error: BaseException


def _raise_if_unreadable(message: Any) -> Any:
    """Returns the message, or raises the exception that reading it raised."""
    if isinstance(message, _Unreadable):
        raise message.error
    return message


def _send(replies: BinaryIO, message: Any) -> None:
    pickled = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    try:
        replies.write(pickled)
        replies.flush()
    except OSError:  # the supervisor is gone
        os._exit(1)
