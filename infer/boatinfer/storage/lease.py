"""Holding a results folder in a bucket: an object that its holder renews as long as it lives.

A bucket has no locks, but S3 and Google's storage have conditional PUTs: the object is made only
if there is none, and renewed or taken over only if nobody else has written it since. A lease ends
when its holder deletes the object, and may be taken over when it has not been renewed for
`LEASE_TTL` seconds by the store's own clock, or when its holder's process is seen to be gone.
A store that ignores the condition is found out, and the user told.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from boatinfer.errors import BusyError
from boatinfer.storage.bucket import BucketPath, Status
from boatinfer.storage.documents import DocumentError, decoded
from boatinfer.storage.files import translate_write_errors

__all__ = ["LEASE_TTL", "RENEW_INTERVAL", "Lease", "current_holder"]

_log = logging.getLogger(__name__)

#: Seconds between two renewals.
RENEW_INTERVAL = 20.0
#: Seconds without a renewal after which anybody may take the lease over.
LEASE_TTL = 90.0


class _Note(msgspec.Struct):
    """What the object says of its holder; ``place`` and ``process`` tell whether that lives."""

    holder: str
    key: str
    place: str
    process: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    generation: int = 0


class Lease:
    """A lease on the folder of ``path``; to be used as a context manager.

    Args:
        path: the object that stands for it.

    Raises:
        BusyError: on entering, another run holds it.
        OutputError: the store refuses to write it.
    """

    def __init__(self, path: BucketPath) -> None:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        who = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        self._path = path
        self._note = _Note(who, uuid.uuid4().hex, _this_place(), os.getpid())
        self._version: dict[str, str] = {}
        self._conditional, self._lost = True, False
        self._renewed = 0.0
        self._turn, self._end = threading.Lock(), threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Takes the lease, and renews it until the body ends."""
        with translate_write_errors(self._path):
            self._take()
            self._try_conditions()
        beat = threading.Thread(target=self._beat, name="boatinfer-lease", daemon=True)
        beat.start()
        try:
            yield
        finally:
            self._end.set()
            beat.join()
            with contextlib.suppress(OSError):
                if not self._lost and _read(self._path)[0].key == self._note.key:
                    self._path.unlink()

    def check(self) -> None:
        """Makes sure, before something is written, that the lease is still ours.

        Raises:
            BusyError: another run has taken it over.
            OutputError: the store does not tell.
        """
        with translate_write_errors(self._path):
            if self._lost or time.monotonic() - self._renewed > 2 * RENEW_INTERVAL:
                self._renew()
        if self._lost:
            raise BusyError(
                f"{self._path.parent} was taken over by another run, for the store could not be "
                f"reached for more than {LEASE_TTL:.0f} seconds; what was recorded is kept."
            )

    def _take(self) -> None:
        self._renewed = time.monotonic()
        note, status = _read(self._path)  # first, lest a store without conditions overwrite it
        there = bool(status.etag)
        if there and not (_is_gone(note) or self._age(status) > LEASE_TTL):
            raise self._busy(note)
        try:
            self._write(_same(status.etag, status.version) if there else "create")
        except FileExistsError:  # somebody was faster, or an answer to us was lost
            note, status = _read(self._path)
            if note.key != self._note.key:
                raise self._busy(note) from None
            self._version = _same(status.etag, status.version)

    def _try_conditions(self) -> None:
        """Finds out whether the store obeys conditions, now that the object is there."""
        with contextlib.suppress(FileExistsError):
            self._write("create")
            self._conditional = False
            _log.warning(
                "%s: this store ignores conditional writes, so two runs that start in the same "
                "moment would not notice each other; never start two.",
                self._path.parent,
            )

    def _beat(self) -> None:
        while not self._lost and not self._end.wait(RENEW_INTERVAL):
            with contextlib.suppress(OSError):  # the next beat tries again
                self._renew()

    def _renew(self) -> None:
        with self._turn:
            if self._lost:
                return
            started = time.monotonic()
            self._note.generation += 1
            try:
                if not self._conditional and _read(self._path)[0].key != self._note.key:
                    raise FileExistsError
                self._write(self._version if self._conditional else "overwrite")
            except FileExistsError:
                note, status = _read(self._path)
                self._lost = note.key != self._note.key
                if self._lost:
                    return
                self._version = _same(status.etag, status.version)  # an answer to us was lost
            self._renewed = started

    def _write(self, mode: object) -> None:
        put = self._path.put(msgspec.json.encode(self._note), mode)
        self._version = _same(put["e_tag"], put["version"])

    def _age(self, status: Status) -> float:
        """Seconds since the object was written, by the store's clock."""
        probe = self._path.parent / f".clock-{self._note.key}"
        probe.write_bytes(b"")
        now = probe.stat().st_mtime_ns
        probe.unlink()
        return (now - status.st_mtime_ns) / 1e9

    def _busy(self, note: _Note) -> BusyError:
        return BusyError(
            f"{self._path.parent} is held by {note.holder}; wait until that run has ended (one "
            f"that was killed holds it for {LEASE_TTL:.0f} seconds more), or choose another -o."
        )


def current_holder(path: BucketPath) -> str | None:
    """Who holds the lease, in words; None if nobody does, by the clock of this machine."""
    try:
        note, status = _read(path)
    except OSError:
        return None
    fresh = time.time_ns() - status.st_mtime_ns < LEASE_TTL * 1e9
    return note.holder if fresh and note.key and not _is_gone(note) else None


def _read(path: BucketPath) -> tuple[_Note, Status]:
    """What the object says now; one that is missing or unreadable has a note without a key."""
    nobody = _Note("another process", "", "", 0)
    try:
        content, status = path.load()
    except FileNotFoundError:
        return nobody, Status(0, time.time_ns(), "")
    try:
        return decoded(content, _Note), status
    except DocumentError:
        return nobody, status


def _same(etag: str | None, version: str | None) -> dict[str, str]:
    """The condition that an object is still the same."""
    said = {"e_tag": etag, "version": version}
    return {name: value for name, value in said.items() if value}


def _this_place() -> str:
    """Names the machine, and on it the space in which process numbers mean the same."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _is_gone(note: _Note) -> bool:
    """Whether the holder ran on this machine and does so no more."""
    if os.name != "posix" or note.place != _this_place() or note.process <= 0:
        return False
    if note.process == os.getpid():
        return False
    try:
        os.kill(note.process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
