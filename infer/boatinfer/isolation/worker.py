"""The worker process: receives a task, then batches; sends back what became of them.

The protocol, each message a pickle. To the worker: a `Task`, the settings of its service, any
number of `Batch`, and `End`, after which another task may follow; it ends with its standard input.
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

from boatinfer.isolation.journal import in_hand, open_journal, working
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
#: So the kernel, short of memory, ends the worker before the process that keeps the results.
_OOM_SCORE = "500"


class Batch(NamedTuple):
    """Items to work on together, and the number by which the answer names them."""

    number: int
    items: list[Any]


class Done(NamedTuple):
    """What became of a batch.

    Attributes:
        number: the batch's.
        results: one for each of its items, in their order.
        seconds: of each stage of work, by name, since the process began.
    """

    number: int
    results: list[Any]
    seconds: dict[str, float]


class End(NamedTuple):
    """There are no more batches of the task."""


class Ready(NamedTuple):
    """The task is open; ``info`` is what its service says of itself."""

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
        """Works on batches in threads, each under `boatinfer.isolation.journal.working`."""

    def close(self) -> None:
        """Undoes what `Task.open` did to the process."""


class Task(Protocol):
    """What a worker process is to do; can be pickled."""

    def open(self) -> Service:
        """Prepares the work, in the worker process."""


@dataclass(frozen=True)
class EachItem(Generic[Item, Result]):
    """The task of calling a function on every item, in threads.

    Attributes:
        work_on: can be pickled; returns what can be pickled.
        threads: how many.
        info: for `Service`.
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
        with working(batch.number):
            for index, item in enumerate(batch.items):
                in_hand(index)
                results.append(self.work_on(item))
        return Done(batch.number, results, {})

    def work(
        self, settings: Any, batches: Iterator[Batch]
    ) -> contextlib.AbstractContextManager[Iterator[Done]]:
        """Works on batches."""
        return parallel_unordered(self._done, batches, self.threads)


def main() -> None:
    """Runs a worker process that was started as a command.

    The arguments of the command line are the name of the journal, and what `serve` takes.
    """
    journal, tied = sys.argv[1:]
    open_journal(journal)
    serve(tied == "tied")


def serve(tied: bool) -> NoReturn:
    """Does one task after the other; ends the process.

    Args:
        tied: whether to end with the thread that started the process.
    """
    requests, replies = _channel()
    _limit_harm(tied)
    received = _received(requests)
    try:
        while True:
            _do(_checked(received.get()), received, replies)
    except BaseException as error:
        _end(replies, error)


def _do(task: Task, received: SimpleQueue[Any], replies: BinaryIO) -> None:
    """Does one task to its end."""
    service = task.open()
    _send(replies, Ready(service.info))
    settings = _checked(received.get())
    if not isinstance(settings, End):
        with service.work(settings, _until_end(received)) as results:
            try:
                for done in results:
                    _send(replies, done)
            except BaseException as error:  # other threads may wait for batches that never come
                _end(replies, error)
    service.close()


def _until_end(received: SimpleQueue[Any]) -> Iterator[Batch]:
    while not isinstance(message := _checked(received.get()), End):
        yield message


def _end(replies: BinaryIO, error: BaseException) -> NoReturn:
    """Sends an exception, and ends the process, whatever its threads are doing."""
    _send(replies, Raised(_portable(error)))
    os._exit(0)


def _portable(error: BaseException) -> BaseException:
    """The exception as it can be sent, with its traceback."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # it holds what cannot be sent, or is not made of its arguments
        error = RuntimeError(str(error))
    error.add_note(trace)
    return error


def _channel() -> tuple[BinaryIO, BinaryIO]:
    """Takes standard input and output for messages, so that no library can write into them."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _limit_harm(tied: bool) -> None:
    """Keeps the worker from outliving its supervisor, and from leaving core dumps."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # its supervisor decides when it ends
    if sys.platform == "win32":
        return
    import resource

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        if tied:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write(_OOM_SCORE)


def _received(requests: BinaryIO) -> SimpleQueue[Any]:
    """Reads messages in a thread; where they end early, so does the process."""
    received: SimpleQueue[Any] = SimpleQueue()

    def read() -> None:
        try:
            while True:
                received.put(pickle.load(requests))
        except (EOFError, OSError):  # the supervisor is gone
            os._exit(1)
        except BaseException as error:  # a module that cannot be loaded here
            received.put(_Unreadable(error))

    threading.Thread(target=read, name="boatinfer-requests", daemon=True).start()
    return received


class _Unreadable(NamedTuple):
    """A message that could not be read."""

    error: BaseException


def _checked(message: Any) -> Any:
    """The message, or what was raised when it was read."""
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
