"""Buckets: Amazon S3 and what speaks its protocol, and Google Cloud Storage.

The requests go through obstore: against pyarrow's file system an image costs one request
instead of two and a quarter of the CPU time, listings come page by page with ETags, and a PUT
may be conditional. Credentials, region and endpoint of S3 are found by botocore, just as the
AWS command line finds them; it also handles the keys that obstore refuses (``a//b``, control
characters), so that these are not left out. `boatinfer.storage.connections` opens both.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import xxhash

from boatinfer.errors import (
    BoatinferError,
    UsageError,
)
from boatinfer.storage.connections import connection
from boatinfer.storage.errors import refusals, refused_key

__all__ = ["SCHEMES", "BucketPath", "Status"]

#: What the URI of a bucket may begin with.
SCHEMES = ("s3", "gs")

#: Larger files are sent in pieces, which appear together; S3 takes at most 5 GiB at once.
_PIECE = 64 * 2**20

#: Smaller objects are read whole: one request is faster than a few small ones.
_WHOLE = 8 * 2**20

#: Objects of a page of a listing, as the stores themselves count.
_PAGE = 1000


class Status(NamedTuple):
    """What a store says of an object.

    Attributes:
        st_size: bytes.
        st_mtime_ns: when it was written, nanoseconds since 1970: stores count whole seconds,
            and the digits below come from the ETag, so that two contents differ in it.
        etag: the store's word for the content, as it says it.
        version: the store's number of the object's version, where it counts them.
    """

    st_size: int
    st_mtime_ns: int
    etag: str
    version: str | None = None

    @classmethod
    def of(
        cls, size: int, modified: datetime, etag: str | None, version: str | None = None
    ) -> Status:
        """Makes one of what a store says."""
        content = (etag or "").removeprefix("W/").strip('"')
        fraction = xxhash.xxh3_64_intdigest(content.encode()) % 1_000_000_000 if content else 0
        seconds = int(modified.timestamp())
        return cls(size, seconds * 1_000_000_000 + fraction, etag or "", version)


class Listed(NamedTuple):
    """An object as a listing names it: its key, and what the store says of it."""

    key: str
    status: Status


@dataclass(frozen=True, order=True)
class BucketPath:
    """A place in a bucket: an object, or the folder of those whose keys it is the beginning of.

    The methods are those of `boatinfer.storage.base.Place`; an object appears whole or not at all,
    and a folder is there as soon as it holds something.

    Attributes:
        scheme: ``s3`` or ``gs``.
        bucket: the bucket's name.
        key: the object's key, without a slash at the end; empty for the bucket itself.
        known: what a listing said of the object.
    """

    scheme: str
    bucket: str
    key: str
    known: Status | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, uri: str) -> BucketPath:
        """Reads a URI; its key is taken as it is, without any decoding.

        Raises:
            UsageError: it names no bucket.
        """
        scheme, rest = uri.split("://", 1)
        bucket, _, key = rest.partition("/")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", bucket):
            why = "has no name that a bucket may have" if bucket else "names no bucket"
            raise UsageError(f"{uri} {why}; write {scheme}://BUCKET/FOLDER.")
        return cls(scheme.lower(), bucket, key.rstrip("/"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")

    def __truediv__(self, key: str) -> BucketPath:
        return replace(self, key=f"{self.prefix}{key}", known=None)

    @property
    def prefix(self) -> str:
        """What the keys of the objects in the folder begin with."""
        return f"{self.key}/" if self.key else ""

    @property
    def name(self) -> str:
        """The last segment; the bucket's name for the bucket itself."""
        return self.key.rsplit("/", 1)[-1] or self.bucket

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """The name's ending, with its dot."""
        return Path(self.name).suffix

    @property
    def parent(self) -> BucketPath:
        """The folder."""
        return replace(self, key=self.key.rpartition("/")[0], known=None)

    def with_suffix(self, suffix: str) -> BucketPath:
        """The place beside it with another ending."""
        return self.parent / f"{self.stem}{suffix}"

    def as_uri(self) -> str:
        """The URI, with what no link can hold encoded."""
        return f"{self.scheme}://{self.bucket}/{quote(self.key)}"

    def exists(self) -> bool:
        """Whether there is such an object or folder."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is such an object."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there is an object in the folder."""
        return next(self.objects(), None) is not None

    def stat(self) -> Status:
        """What the store says of the object, now or when it was listed."""
        if self.known is not None:
            return self.known
        is_odd = _is_refused(self.key)
        with self._told(is_odd) as store:
            if is_odd:
                odd = self._client().head_object(Bucket=self.bucket, Key=self.key)
                return Status.of(odd["ContentLength"], odd["LastModified"], odd["ETag"])
            return _status(store.head(self.key))

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: a folder is there as soon as it holds something."""

    def read_bytes(self) -> bytes:
        """The object's content."""
        return self.load()[0]

    def load(self, most: int | None = None) -> tuple[bytes, Status]:
        """The object's content and what the store says of it, in one request.

        Args:
            most: bytes that are too many; a larger object's content is left out.
        """
        if _is_refused(self.key):
            return self._load_odd(most)
        with self._told() as store:
            found = store.get(self.key)
            status = _status(found.meta)
            too_large = most is not None and status.st_size > most
            return b"" if too_large else found.bytes().to_bytes(), status

    def _load_odd(self, most: int | None) -> tuple[bytes, Status]:
        """`load` of a key that obstore refuses."""
        with self._told(odd=True):
            found = self._client().get_object(Bucket=self.bucket, Key=self.key)
            status = Status.of(found["ContentLength"], found["LastModified"], found["ETag"])
            too_large = most is not None and status.st_size > most
            return b"" if too_large else found["Body"].read(), status

    def opened(self) -> Any:
        """A seekable binary file that reads the object, of a large one the ranges asked for."""
        import pyarrow as pa

        size = self.stat().st_size
        if size <= _WHOLE:
            return pa.BufferReader(self.read_bytes())
        with self._told() as store:
            from obstore import open_reader

            reader = open_reader(store, self.key, size=size)
        return pa.PythonFile(_Reader(reader, self), "r")

    def read_text(self, encoding: str | None = None) -> str:
        """The object's content as text."""
        return self.read_bytes().decode(encoding or "utf-8")

    def write_bytes(self, data: bytes) -> int:
        """Writes the object by a single PUT."""
        self.put(data)
        return len(data)

    def write_text(self, data: str, encoding: str | None = None) -> int:
        """Writes the object by a single PUT."""
        return self.write_bytes(data.encode(encoding or "utf-8"))

    def put(self, content: bytes, mode: Any = "overwrite") -> dict[str, Any]:
        """Writes the object by a single PUT, which may be conditional.

        Args:
            content: all of it.
            mode: that of `obstore.put`: ``overwrite``, ``create`` if there must be no such
                object, or what an earlier call returned if it must still be the same.

        Returns:
            ``e_tag`` and ``version``, by which a later PUT may be made conditional.

        Raises:
            FileExistsError: the condition does not hold.
        """
        with self._told() as store:
            written = store.put(self.key, content, use_multipart=False, mode=mode)
            return dict(written)

    def upload(self, file: Path) -> None:
        """Writes the object from a file: whole by a single PUT, or in pieces if it is large."""
        in_pieces = file.stat().st_size > _PIECE
        with self._told() as store:
            store.put(self.key, file, use_multipart=in_pieces, chunk_size=_PIECE)

    def rename(self, target: BucketPath) -> None:
        """Copies the object to another key, and deletes it."""
        with self._told() as store:
            store.rename(self.key, target.key)

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes the object; a store does not tell whether it was there."""
        with self._told() as store, contextlib.suppress(FileNotFoundError):
            store.delete(self.key)

    def iterdir(self) -> Iterator[BucketPath]:
        """What lies in the folder, objects before folders."""
        with self._told() as store:
            found = store.list_with_delimiter(self.key or None)
        for meta in found["objects"]:
            yield replace(self, key=meta["path"], known=_status(meta))
        for key in found["common_prefixes"]:
            yield replace(self, key=key.rstrip("/"), known=None)

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """What lies in the folder and has a name like the pattern."""
        return (one for one in self.iterdir() if fnmatch.fnmatchcase(one.name, pattern))

    def objects(self) -> Iterator[Listed]:
        """Lists the objects in the folder and in those below it, page by page as they come."""
        if _is_refused(self.key):
            yield from self._odd_objects("")
            return
        last = ""
        with self._told() as store:
            from obstore.exceptions import InvalidPathError

            try:
                for page in store.list(self.key or None, chunk_size=_PAGE):
                    for meta in page:
                        last = meta["path"]
                        yield Listed(last, _status(meta))
            except InvalidPathError:
                yield from self._odd_objects(last)

    def _odd_objects(self, after: str) -> Iterator[Listed]:
        """The rest of `objects` where a page has a key that obstore refuses."""
        client = self._client()
        with self._told(odd=True):
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix, StartAfter=after
            )
            for page in pages:
                for meta in page.get("Contents", ()):
                    status = Status.of(meta["Size"], meta["LastModified"], meta.get("ETag"))
                    yield Listed(meta["Key"], status)

    def connect(self) -> None:
        """Makes sure that the store can be asked.

        Raises:
            UsageError: a package or credentials are missing, there is no such bucket, or the
                server cannot be reached.
        """
        connection(self.scheme, self.bucket)

    def _client(self) -> Any:
        """The botocore client, for what obstore does not do."""
        client = connection(self.scheme, self.bucket)[1]
        if client is None:
            raise BoatinferError(
                f"{self.scheme}://{self.bucket} has keys with empty segments or control "
                "characters, which can be read from S3 only; rename these objects."
            )
        return client

    @contextlib.contextmanager
    def _told(self, odd: bool = False) -> Iterator[Any]:
        """Gives the obstore store; what a store refuses becomes an `OSError`.

        Args:
            odd: whether botocore is asked instead, which takes any key.

        Raises:
            UsageError: obstore would refuse the key, or write to another.
        """
        if not odd and _is_refused(self.key):
            raise refused_key(str(self))
        store = connection(self.scheme, self.bucket)[0]
        with refusals(str(self)):
            yield store


class _Reader(io.RawIOBase):
    """obstore's reader of an object as the kind of file that pyarrow takes."""

    def __init__(self, reader: Any, path: BucketPath) -> None:
        self._reader, self._path = reader, path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())

    def read(self, size: int = -1) -> bytes:
        with self._path._told():
            return bytes(self._reader.read(None if size < 0 else size))


def _status(meta: Any) -> Status:
    return Status.of(meta["size"], meta["last_modified"], meta["e_tag"], meta["version"])


def _is_refused(key: str) -> bool:
    """Whether obstore refuses a key: empty segments, those of only dots, control characters."""
    if key.isprintable() and "//" not in key and "/." not in key and key[:1] not in {"/", "."}:
        return False
    segments = key.split("/")
    return not {"", ".", ".."}.isdisjoint(segments) or bool(re.search(r"[\x00-\x1f\x7f]", key))
