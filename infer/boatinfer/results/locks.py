"""Locks of a results folder, for one run, or for the shards of one split.

A run that is not a shard holds ``OUT/.lock`` until it ends. A shard holds it only while it acquires
its own lock, ``OUT/shards/I-of-N.lock``, and checks that no shard of another split holds one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from boatinfer.results.store.shards import Shard
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors
from boatinfer.storage.locks import LOOK_SECONDS, hold_lock, lock_holder, refuse_held

__all__ = ["SHARDS", "lock_results", "results_holder"]

#: Name of the folder, in a results folder, for the files of single shards.
SHARDS = "shards"

#: Seconds that a shard waits for other shards that are starting.
_START_SECONDS = 20.0


@contextlib.contextmanager
def lock_results(out: Place, shard: Shard | None) -> Iterator[Callable[[], None]]:
    """Locks a results folder, which must exist.

    Args:
        out: the folder.
        shard: the shard to lock, which other shards of the same split may run beside; None locks
            the folder for one run.

    Yields:
        A function that raises if the folder is no longer held; to be called before anything is
        written.

    Raises:
        BusyError: another run has locked it.
        OutputError: it cannot be written.
    """
    folder = out / SHARDS
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context(contextlib.ExitStack())
        timeout = _START_SECONDS if shard else LOOK_SECONDS
        check = gate.enter_context(hold_lock(out / ".lock", out, timeout))
        for lock in sorted(folder.glob("[1-9]*-of-*.lock")):
            other = Shard.parse(lock.stem)
            if shard is None or other.count != shard.count:
                refuse_held(lock, f"{out}, shard {other},")
        if shard is not None:
            with translate_write_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            lock = folder / f"{shard.name}.lock"
            check = stack.enter_context(hold_lock(lock, f"{out}, shard {shard},"))
            gate.close()
        yield check


def results_holder(out: Place, shard: Shard | None = None) -> str | None:
    """Describes the process that has locked a results folder, or a shard of it; None if none."""
    return lock_holder(out / SHARDS / f"{shard.name}.lock" if shard else out / ".lock")
