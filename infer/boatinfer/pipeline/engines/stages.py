"""The stages of one process, from files to rows: fetch, read, infer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from boatinfer import images
from boatinfer.isolation.journal import working_on_batch
from boatinfer.isolation.worker import Batch, Done
from boatinfer.models.device import Device
from boatinfer.parallel import fetch_unordered, parallel_unordered
from boatinfer.pipeline.classifier import Classifier
from boatinfer.results.store.rows import Row
from boatinfer.storage.base import Place
from boatinfer.storage.locations import is_remote

__all__ = ["batches_ahead", "classified"]

#: Images that are fetched from a bucket at the same time, for each thread that decodes, and
#: in all.
REQUESTS = 64
MOST_REQUESTS = 512


@contextlib.contextmanager
def classified(
    work: Classifier, batches: Iterator[Batch], threads: int
) -> Iterator[Iterator[Done]]:
    """Gives the rows of batches of files as they are done in other threads.

    Args:
        work: what to do with them.
        batches: taken as threads become free, of ``work.size`` files at most.
        threads: how many read, and on the CPU infer.
    """
    with contextlib.ExitStack() as stages:
        source: Iterator[tuple[int, Any]] = batches
        read: Callable[[Any], Any] = work.read
        classify: Callable[[Any], Any] = work
        ahead = _Ahead(work)
        if is_remote(work.folder):  # many requests at a time hide their latency
            taken = map(ahead.enter, batches)
            fetching = fetch_unordered(work.fetch, taken, work.size, _requests(threads))
            source = stages.enter_context(fetching)
            read, classify = work.decode, work.classify
        if work.model.device is not Device.CUDA:
            rows = parallel_unordered(_numbered(classify), source, threads)
        else:
            loaded = stages.enter_context(
                parallel_unordered(_numbered(read), source, threads, ahead=1)
            )
            rows = parallel_unordered(_numbered(work.infer), loaded, 1)
        done = stages.enter_context(rows)
        stages.callback(ahead.open)  # at the end who waits for room can end too
        yield (
            Done(number, ahead.left(number, rows), dict(work.stages.seconds))
            for number, rows in done
        )


class _Ahead:
    """Room in memory for the files of batches that are read ahead of the work.

    Args:
        work: reads them.
    """

    def __init__(self, work: Classifier) -> None:
        self._work, self._gate = work, images.Gate(images.current_limits().read_ahead_size)
        self._sizes: dict[int, int] = {}

    def enter(self, batch: Batch) -> Batch:
        """Waits for room for a batch."""
        size = sum(file.bytes for file in batch.items if self._work.takes_ahead(file.bytes))
        self._gate.enter(size)
        self._sizes[batch.number] = size
        return batch

    def left(self, number: int, rows: list[Row]) -> list[Row]:
        """Gives back the room of a batch that is done."""
        self._gate.leave(self._sizes.pop(number, 0))
        return rows

    def open(self) -> None:
        """Lets all enter."""
        self._gate.open()


def batches_ahead(device: Device, folder: Place, size: int, threads: int) -> int:
    """How many batches keep all stages of `classified` busy."""
    working = 2 * threads + 2
    if device is Device.CUDA:  # those that are decoded wait for the GPU
        working += 2 * threads
    if is_remote(folder):
        working += 3 * _requests(threads) // size
    return working


def _requests(threads: int) -> int:
    return min(MOST_REQUESTS, REQUESTS * threads)


def _numbered(
    work: Callable[[Any], Any],
) -> Callable[[tuple[int, Any]], tuple[int, Any]]:
    """The same work on a batch with its number, which the journal has in hand meanwhile."""

    def call(batch: tuple[int, Any]) -> tuple[int, Any]:
        number, items = batch
        with working_on_batch(number):
            return number, work(items)

    return call
