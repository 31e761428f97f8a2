"""Who may write into a results folder: one run alone, or the shards of one split.

``OUT/.lock`` is held by a run that wants the folder for itself as long as it goes on. A shard
holds it for the moment in which it takes the lock of its own, ``OUT/shards/I-of-N.lock``, and
sees that no shard of another split holds one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from boatinfer.results.store.shards import Shard
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors
from boatinfer.storage.locks import LOOK_SECONDS, hold_lock, lock_holder, refuse_held

__all__ = ["SHARDS", "held", "held_by"]

#: The folder, in a results folder, of what belongs to single shards.
SHARDS = "shards"

#: Seconds that a shard waits for others which are just starting.
_START_SECONDS = 20.0


@contextlib.contextmanager
def held(out: Place, shard: Shard | None) -> Iterator[Callable[[], None]]:
    """Holds a results folder, which must exist.

    Args:
        out: the folder.
        shard: lets other shards of the same split in; None lets no other run in.

    Yields:
        A function that raises if the folder is no longer held; to be called before anything is
        written.

    Raises:
        BusyError: another run holds it.
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
            own = folder / f"{shard.name}.lock"
            check = stack.enter_context(hold_lock(own, f"{out}, shard {shard},"))
            gate.close()
        yield check


def held_by(out: Place, shard: Shard | None = None) -> str | None:
    """Describes the process that holds a results folder, or a shard of it; None if none does."""
    return lock_holder(out / SHARDS / f"{shard.name}.lock" if shard else out / ".lock")
