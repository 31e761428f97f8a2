"""The stages of one process, from files to rows: fetch, read, infer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from boatinfer.night.batch import Classifier, Loaded
from boatinfer.options import Device
from boatinfer.results.rows import Row
from boatinfer.scan import Found
from boatinfer.storage.bucket import BucketPath
from boatinfer.threads import fetched, spread

__all__ = ["classified"]

#: Images that are fetched from a bucket at the same time, for each thread that decodes, and
#: in all.
REQUESTS = 64
MOST_REQUESTS = 512


@contextlib.contextmanager
def classified(
    work: Classifier, batches: Iterator[list[Found]], threads: int
) -> Iterator[Iterator[list[Row]]]:
    """Gives the rows of batches, in lists, as they are done in other threads.

    Args:
        work: what to do with them.
        batches: taken as threads become free, of ``work.size`` files at most.
        threads: how many read, and on the CPU infer.
    """
    with contextlib.ExitStack() as stages:
        source: Iterator[Any] = batches
        read: Callable[[Any], Loaded] = work.read
        classify: Callable[[Any], list[Row]] = work
        if isinstance(work.folder, BucketPath):  # many requests at a time hide their latency
            requests = min(MOST_REQUESTS, REQUESTS * threads)
            fetching = fetched(work.fetch, batches, work.size, requests)
            source = stages.enter_context(fetching)
            read, classify = work.decode, work.classify
        if work.model.device is not Device.CUDA:
            rows = spread(classify, source, threads)
        else:
            loaded = stages.enter_context(spread(read, source, threads, ahead=1))
            rows = spread(work.infer, loaded, 1)
        yield stages.enter_context(rows)
