"""A lease on a results folder in a bucket: a lock object that its holder renews regularly.

A bucket has no locks, but S3 and Google Cloud Storage have conditional PUTs: the object is created
only if there is none, and renewed or taken over only if it has not changed since. A lease ends when
its holder deletes the object. Another process may take it over if it has not been renewed for
`LEASE_TTL` seconds by the store's own clock, or if the holder's process has ended. A store that
ignores the condition is detected, and a warning printed.
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
from boatinfer.storage.documents import DocumentError, decode_document
from boatinfer.storage.files import translate_write_errors

__all__ = ["LEASE_TTL", "RENEW_INTERVAL", "Lease", "current_holder"]

_log = logging.getLogger(__name__)

#: Seconds between two renewals.
RENEW_INTERVAL = 20.0
#: Seconds without a renewal after which another process may take the lease over.
LEASE_TTL = 90.0


class _Record(msgspec.Struct):
    """The content of the lock object.

    Attributes:
        holder: description of the holder, for messages.
        key: random, identifies the holder; empty if the object is missing or unreadable.
        namespace: host, boot and PID namespace in which ``process`` is valid.
        process: PID of the holder.
        generation: number of renewals.
    """

    holder: str
    key: str
    namespace: str = msgspec.field(name="place")
    process: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    generation: int = 0


class Lease:
    """A lease on the folder of ``path``; to be used as a context manager.

    Args:
        path: the lock object.

    Raises:
        BusyError: on entering, another run holds it.
        OutputError: the store refuses to write the lock object.
    """

    def __init__(self, path: BucketPath) -> None:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        self._path = path
        self._record = _Record(holder, uuid.uuid4().hex, _process_namespace(), os.getpid())
        self._version: dict[str, str] = {}
        self._conditional, self._lost = True, False
        self._renewed_at = 0.0
        self._write_lock, self._ended = threading.Lock(), threading.Event()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Acquires the lease, and renews it in a thread until the body ends."""
        with translate_write_errors(self._path):
            self._acquire()
            self._test_conditional_writes()
        renewer = threading.Thread(
            target=self._renew_regularly, name="boatinfer-lease", daemon=True
        )
        renewer.start()
        try:
            yield
        finally:
            self._ended.set()
            renewer.join()
            with contextlib.suppress(OSError):
                if not self._lost and _read(self._path)[0].key == self._record.key:
                    self._path.unlink()

    def check(self) -> None:
        """Checks, before something is written, that this process still holds the lease.

        Raises:
            BusyError: another run has taken it over.
            OutputError: the store does not answer.
        """
        with translate_write_errors(self._path):
            if self._lost or time.monotonic() - self._renewed_at > 2 * RENEW_INTERVAL:
                self._renew()
        if self._lost:
            raise BusyError(
                f"{self._path.parent} was taken over by another run, for the store could not be "
                f"reached for more than {LEASE_TTL:.0f} seconds; what was recorded is kept."
            )

    def _acquire(self) -> None:
        self._renewed_at = time.monotonic()
        record, status = _read(self._path)  # checked first, for stores without conditions
        exists = bool(status.etag)
        if exists and not (
            _holder_has_ended(record) or self._seconds_since_write(status) > LEASE_TTL
        ):
            raise self._busy_error(record)
        try:
            self._write(_unchanged(status.etag, status.version) if exists else "create")
        except FileExistsError:  # another process was faster, or an answer was lost
            record, status = _read(self._path)
            if record.key != self._record.key:
                raise self._busy_error(record) from None
            self._version = _unchanged(status.etag, status.version)

    def _test_conditional_writes(self) -> None:
        """Tests whether the store respects conditional writes, now that the object exists."""
        with contextlib.suppress(FileExistsError):
            self._write("create")
            self._conditional = False
            _log.warning(
                "%s: this store ignores conditional writes, so two runs that start in the same "
                "moment would not notice each other; never start two.",
                self._path.parent,
            )

    def _renew_regularly(self) -> None:
        while not self._lost and not self._ended.wait(RENEW_INTERVAL):
            with contextlib.suppress(OSError):  # tried again at the next interval
                self._renew()

    def _renew(self) -> None:
        with self._write_lock:
            if self._lost:
                return
            started = time.monotonic()
            self._record.generation += 1
            try:
                if not self._conditional and _read(self._path)[0].key != self._record.key:
                    raise FileExistsError
                self._write(self._version if self._conditional else "overwrite")
            except FileExistsError:
                record, status = _read(self._path)
                self._lost = record.key != self._record.key
                if self._lost:
                    return
                self._version = _unchanged(
                    status.etag, status.version
                )  # an earlier answer was lost
            self._renewed_at = started

    def _write(self, mode: object) -> None:
        response = self._path.put(msgspec.json.encode(self._record), mode)
        self._version = _unchanged(response["e_tag"], response["version"])

    def _seconds_since_write(self, status: Status) -> float:
        """Age of the lock object by the store's clock."""
        probe = self._path.parent / f".clock-{self._record.key}"
        probe.write_bytes(b"")
        now = probe.stat().st_mtime_ns
        probe.unlink()
        return (now - status.st_mtime_ns) / 1e9

    def _busy_error(self, record: _Record) -> BusyError:
        return BusyError(
            f"{self._path.parent} is held by {record.holder}; wait until that run has ended (one "
            f"that was killed holds it for {LEASE_TTL:.0f} seconds more), or choose another -o."
        )


def current_holder(path: BucketPath) -> str | None:
    """Describes the holder of the lease; None if it is free, by the clock of this machine."""
    try:
        record, status = _read(path)
    except OSError:
        return None
    fresh = time.time_ns() - status.st_mtime_ns < LEASE_TTL * 1e9
    return record.holder if fresh and record.key and not _holder_has_ended(record) else None


def _read(path: BucketPath) -> tuple[_Record, Status]:
    """Reads the lock object; if it is missing or unreadable, the record has no key."""
    no_holder = _Record("another process", "", "", 0)
    try:
        content, status = path.load()
    except FileNotFoundError:
        return no_holder, Status(0, time.time_ns(), "")
    try:
        return decode_document(content, _Record), status
    except DocumentError:
        return no_holder, status


def _unchanged(etag: str | None, version: str | None) -> dict[str, str]:
    """The condition of a PUT that the object has not changed."""
    identity = {"e_tag": etag, "version": version}
    return {name: value for name, value in identity.items() if value}


def _process_namespace() -> str:
    """Identifies the machine, its boot and the PID namespace: PIDs are comparable within these."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _holder_has_ended(record: _Record) -> bool:
    """Whether the holder was a process of this machine and no longer runs."""
    if os.name != "posix" or record.namespace != _process_namespace() or record.process <= 0:
        return False
    if record.process == os.getpid():
        return False
    try:
        os.kill(record.process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
