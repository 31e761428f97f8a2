"""Spreads batches over the threads of this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

__all__ = ["spread", "usable_cpus"]

Batch = TypeVar("Batch")
Rows = TypeVar("Rows")


def spread(work: Callable[[Batch], Rows], batches: Iterable[Batch], threads: int) -> Iterator[Rows]:
    """Calls ``work`` on every batch in several threads, two batches a thread ahead at most.

    Reading, decoding and inference release the GIL, so threads fill the cores.

    Args:
        work: called with one batch at a time in each thread.
        batches: taken as threads become free, so a lazy iterable stays lazy.
        threads: how many.

    Yields:
        What ``work`` returned, as each batch is done, in any order.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="boatinfer") as pool:
        pending: set[Future[Rows]] = set()
        for batch in batches:
            pending.add(pool.submit(work, batch))
            if len(pending) >= 2 * threads:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def usable_cpus() -> int:
    """CPUs this process may use: its affinity, and the quota of its control group.

    The quota is ``cpu.max`` of cgroup v2 or ``cpu.cfs_quota_us`` of v1 (Linux kernel
    documentation, admin-guide/cgroup-v2 and cgroup-v1).
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota(Path("/sys/fs/cgroup"))
    return cpus if quota is None else max(1, min(cpus, round(quota)))


def _quota(cgroup: Path) -> float | None:
    """The control group's quota in CPUs; None where there is none."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if limit in {"max", "-1"} else float(limit) / float(period)
