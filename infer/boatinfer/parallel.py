"""Spreads batches over the threads of this process."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any, TypeVar

__all__ = ["fetch_unordered", "parallel_unordered"]

Batch = TypeVar("Batch")
Item = TypeVar("Item")
Result = TypeVar("Result")

_END: Any = object()


@contextlib.contextmanager
def parallel_unordered(
    work: Callable[[Batch], Result], batches: Iterable[Batch], threads: int, ahead: int = 16
) -> Iterator[Iterator[Result]]:
    """Calls ``work`` on every batch in threads that start at once.

    The threads take their batches themselves, in turn, so a lazy iterable stays lazy; it may
    be what another `parallel_unordered` gives: then the two are stages of a pipeline. Results
    wait in a bounded queue; while it is full, its threads pause.

    Reading, decoding and inference release the GIL, so threads fill the cores.

    Args:
        work: called with one batch at a time in each thread.
        batches: taken as threads become free.
        threads: how many.
        ahead: how many results of each thread may wait.

    Yields:
        An iterator of what ``work`` returned, as each batch is done, in any order. It raises
        what ``work`` or ``batches`` raised. Where the ``with`` ends, so do the threads, after
        the batches that they have begun.
    """
    source, turn, stop = iter(batches), threading.Lock(), threading.Event()
    done: Queue[Any] = Queue(ahead * threads)
    pool: list[threading.Thread] = []
    ended = 0

    def take_turns() -> None:
        try:
            while not stop.is_set():
                with turn:
                    batch = next(source, _END)
                if batch is _END:
                    break
                done.put((work(batch), None))
        except BaseException as error:  # it is raised where the results are taken
            done.put((None, error))
        done.put(_END)

    def results() -> Iterator[Result]:
        nonlocal ended
        while ended < len(pool):
            done_or_end = done.get()
            if done_or_end is _END:
                ended += 1
                continue
            result, error = done_or_end
            if error is not None:
                raise error
            yield result

    try:
        for _ in range(threads):
            thread = threading.Thread(target=take_turns, name="boatinfer", daemon=True)
            thread.start()
            pool.append(thread)
        yield results()
    finally:
        stop.set()
        while ended < len(pool):  # a thread may be waiting for room in the queue
            ended += done.get() is _END
        for thread in pool:
            thread.join()


@contextlib.contextmanager
def fetch_unordered(
    fetch: Callable[[Item], Result],
    batches: Iterable[tuple[int, list[Item]]],
    size: int,
    requests: int,
) -> Iterator[Iterator[tuple[int, list[Result]]]]:
    """Calls ``fetch`` on the items of batches, on many at a time, as `parallel_unordered`.

    What is fetched waits in a bounded queue: for about three times ``requests`` items.

    Args:
        fetch: waits for something far away, and needs little of the processor.
        batches: numbers and items, taken as there is room.
        size: the most items that a batch has.
        requests: how many items to fetch at the same time.

    Yields:
        An iterator of the batches fetched, in any order.
    """
    together = max(2, math.ceil(1.5 * requests / size))  # the slowest of a batch holds none up
    with (
        ThreadPoolExecutor(requests, thread_name_prefix="boatinfer-fetch") as pool,
        parallel_unordered(
            lambda b: (b[0], list(pool.map(fetch, b[1]))), batches, together, ahead=1
        ) as done,
    ):
        yield done
