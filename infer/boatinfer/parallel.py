"""Processes batches in the threads of this process."""

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

    Each thread takes its next batch itself, so a lazy iterable stays lazy. The batches may be the
    results of another `parallel_unordered`: then the two are stages of a pipeline. Results wait in
    a bounded queue; while it is full, the threads pause.

    Reading, decoding and inference release the GIL, so threads fill the cores.

    Args:
        work: called with one batch at a time in each thread.
        batches: taken as threads become free.
        threads: number of threads.
        ahead: how many results of each thread may wait in the queue.

    Yields:
        An iterator of the results of ``work``, as each batch is done, in any order. It raises
        what ``work`` or ``batches`` raised. At the end of the ``with`` the threads finish the
        batches that they have begun, and end.
    """
    source, source_lock, stop = iter(batches), threading.Lock(), threading.Event()
    queue: Queue[Any] = Queue(ahead * threads)
    pool: list[threading.Thread] = []
    threads_ended = 0

    def take_batches() -> None:
        try:
            while not stop.is_set():
                with source_lock:
                    batch = next(source, _END)
                if batch is _END:
                    break
                queue.put((work(batch), None))
        except BaseException as error:  # raised again by results()
            queue.put((None, error))
        queue.put(_END)

    def results() -> Iterator[Result]:
        nonlocal threads_ended
        while threads_ended < len(pool):
            entry = queue.get()
            if entry is _END:
                threads_ended += 1
                continue
            result, error = entry
            if error is not None:
                raise error
            yield result

    try:
        for _ in range(threads):
            thread = threading.Thread(target=take_batches, name="boatinfer", daemon=True)
            thread.start()
            pool.append(thread)
        yield results()
    finally:
        stop.set()
        while threads_ended < len(pool):  # a thread may be waiting because the queue is full
            threads_ended += queue.get() is _END
        for thread in pool:
            thread.join()


@contextlib.contextmanager
def fetch_unordered(
    fetch: Callable[[Item], Result],
    batches: Iterable[tuple[int, list[Item]]],
    size: int,
    requests: int,
) -> Iterator[Iterator[tuple[int, list[Result]]]]:
    """Calls ``fetch`` on the items of batches, many at a time; otherwise as `parallel_unordered`.

    Fetched items wait in a bounded queue with room for about three times ``requests`` items.

    Args:
        fetch: waits for the network, and needs little CPU time.
        batches: batch numbers and items, taken as there is room.
        size: maximum number of items in a batch.
        requests: how many items to fetch at the same time.

    Yields:
        An iterator of batch numbers and results, in any order.
    """
    # More batches than the requests fill, so that a slow item does not delay the other batches.
    threads = max(2, math.ceil(1.5 * requests / size))
    with (
        ThreadPoolExecutor(requests, thread_name_prefix="boatinfer-fetch") as pool,
        parallel_unordered(
            lambda batch: (batch[0], list(pool.map(fetch, batch[1]))), batches, threads, ahead=1
        ) as results,
    ):
        yield results
