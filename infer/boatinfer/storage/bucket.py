"""Buckets: Amazon S3 and compatible stores, and Google Cloud Storage.

The requests go through obstore: compared with pyarrow's file system, an image costs one request
instead of two and a quarter of the CPU time, listings come page by page with ETags, and a PUT can
be conditional. botocore finds the credentials, region and endpoint of S3 as the AWS command line
does; it also handles the keys that obstore refuses (``a//b``, control characters).
`boatinfer.storage.connections` opens both clients.
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
from boatinfer.storage.errors import translate_store_errors, unsupported_key_error

__all__ = ["SCHEMES", "BucketPath", "Status"]

#: URI schemes of buckets.
SCHEMES = ("s3", "gs")

#: Larger files are uploaded in parts (multipart); S3 takes at most 5 GiB in one request.
_CHUNK_BYTES = 64 * 2**20

#: Objects up to this size are read whole: one request is faster than several small ones.
_MAX_WHOLE_READ = 8 * 2**20

#: Objects per page of a listing, the stores' own maximum.
_PAGE_SIZE = 1000


class Status(NamedTuple):
    """Metadata of an object.

    Attributes:
        st_size: size in bytes.
        st_mtime_ns: when it was written, nanoseconds since 1970: stores give whole seconds, and
            the fraction is derived from the ETag, so that it differs for different contents.
        etag: the store's ETag, unchanged.
        version: the store's version of the object, if the bucket is versioned.
    """

    st_size: int
    st_mtime_ns: int
    etag: str
    version: str | None = None

    @classmethod
    def from_store(
        cls, size: int, modified: datetime, etag: str | None, version: str | None = None
    ) -> Status:
        """Converts the metadata that a store returns."""
        content = (etag or "").removeprefix("W/").strip('"')
        fraction = xxhash.xxh3_64_intdigest(content.encode()) % 1_000_000_000 if content else 0
        seconds = int(modified.timestamp())
        return cls(size, seconds * 1_000_000_000 + fraction, etag or "", version)


class ListedObject(NamedTuple):
    """An object of a listing: its key and metadata."""

    key: str
    status: Status


@dataclass(frozen=True, order=True)
class BucketPath:
    """A place in a bucket: an object, or the folder of the objects whose keys begin with its key.

    The methods are those of `boatinfer.storage.base.Place`. An object appears completely or not at
    all, and a folder exists if it contains an object.

    Attributes:
        scheme: ``s3`` or ``gs``.
        bucket: the bucket's name.
        key: the object's key, without a slash at the end; empty for the bucket itself.
        listed_status: the object's metadata, if a listing gave it.
    """

    scheme: str
    bucket: str
    key: str
    listed_status: Status | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, uri: str) -> BucketPath:
        """Parses a URI; its key is used unchanged, without percent-decoding.

        Raises:
            UsageError: it has no valid bucket name.
        """
        scheme, rest = uri.split("://", 1)
        bucket, _, key = rest.partition("/")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", bucket):
            problem = "has no valid bucket name" if bucket else "names no bucket"
            raise UsageError(f"{uri} {problem}; write {scheme}://BUCKET/FOLDER.")
        return cls(scheme.lower(), bucket, key.rstrip("/"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")

    def __truediv__(self, key: str) -> BucketPath:
        return replace(self, key=f"{self.prefix}{key}", listed_status=None)

    @property
    def prefix(self) -> str:
        """The key prefix of the objects in the folder."""
        return f"{self.key}/" if self.key else ""

    @property
    def name(self) -> str:
        """The last segment; the bucket's name for the bucket itself."""
        return self.key.rsplit("/", 1)[-1] or self.bucket

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """The file extension, with its dot."""
        return Path(self.name).suffix

    @property
    def parent(self) -> BucketPath:
        """The folder."""
        return replace(self, key=self.key.rpartition("/")[0], listed_status=None)

    def with_suffix(self, suffix: str) -> BucketPath:
        """The same path with another extension."""
        return self.parent / f"{self.stem}{suffix}"

    def as_uri(self) -> str:
        """The percent-encoded URI."""
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
        """The object's metadata: those of the listing if known, else requested from the store."""
        if self.listed_status is not None:
            return self.listed_status
        with self._store_errors_translated(read_only=True) as store:
            if _needs_botocore(self.key):
                return _status_of(self._client().head_object(Bucket=self.bucket, Key=self.key))
            return _status(store.head(self.key))

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: a folder exists if it contains an object."""

    def read_bytes(self) -> bytes:
        """The object's content."""
        return self.load()[0]

    def load(self, max_bytes: int | None = None) -> tuple[bytes, Status]:
        """The object's content and metadata, in one request.

        Args:
            max_bytes: the content of a larger object is not read, and empty.
        """
        with self._store_errors_translated(read_only=True) as store:
            if _needs_botocore(self.key):
                response = self._client().get_object(Bucket=self.bucket, Key=self.key)
                status, read = _status_of(response), response["Body"].read
            else:
                response = store.get(self.key)
                status, read = _status(response.meta), response.bytes
            too_large = max_bytes is not None and status.st_size > max_bytes
            return b"" if too_large else bytes(read()), status

    def open_seekable(self) -> Any:
        """A seekable binary file that reads the object; of a large one only the ranges needed."""
        import pyarrow as pa

        size = self.stat().st_size
        if size <= _MAX_WHOLE_READ:
            return pa.BufferReader(self.read_bytes())
        with self._store_errors_translated() as store:
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
            content: the whole content.
            mode: that of `obstore.put`: ``overwrite``; ``create`` if the object must not exist;
                or the result of an earlier call if the object must be unchanged since.

        Returns:
            ``e_tag`` and ``version``, the condition of a later PUT.

        Raises:
            FileExistsError: the condition does not hold.
        """
        with self._store_errors_translated() as store:
            written = store.put(self.key, content, use_multipart=False, mode=mode)
            return dict(written)

    def upload(self, file: Path) -> None:
        """Uploads a file: by a single PUT, or in parts (multipart) if it is large."""
        multipart = file.stat().st_size > _CHUNK_BYTES
        with self._store_errors_translated() as store:
            store.put(self.key, file, use_multipart=multipart, chunk_size=_CHUNK_BYTES)

    def rename(self, target: BucketPath) -> None:
        """Copies the object to another key, and deletes it."""
        with self._store_errors_translated() as store:
            store.rename(self.key, target.key)

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes the object; a store does not say whether it existed."""
        with self._store_errors_translated() as store, contextlib.suppress(FileNotFoundError):
            store.delete(self.key)

    def iterdir(self) -> Iterator[BucketPath]:
        """The objects and then the folders in the folder."""
        with self._store_errors_translated() as store:
            listing = store.list_with_delimiter(self.key or None)
        for meta in listing["objects"]:
            yield replace(self, key=meta["path"], listed_status=_status(meta))
        for key in listing["common_prefixes"]:
            yield replace(self, key=key.rstrip("/"), listed_status=None)

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """The objects and folders in the folder whose names match the pattern."""
        return (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def objects(self) -> Iterator[ListedObject]:
        """Lists all objects below the folder, page by page."""
        if _needs_botocore(self.key):
            yield from self._objects_by_botocore("")
            return
        last_key = ""
        with self._store_errors_translated() as store:
            from obstore.exceptions import InvalidPathError

            try:
                for page in store.list(self.key or None, chunk_size=_PAGE_SIZE):
                    for meta in page:
                        last_key = meta["path"]
                        yield ListedObject(last_key, _status(meta))
            except InvalidPathError:
                yield from self._objects_by_botocore(last_key)

    def _objects_by_botocore(self, last_key: str) -> Iterator[ListedObject]:
        """Continues `objects` where a page has a key that obstore refuses."""
        client = self._client()
        with self._store_errors_translated(read_only=True):
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix, StartAfter=last_key
            )
            for page in pages:
                for meta in page.get("Contents", ()):
                    status = Status.from_store(meta["Size"], meta["LastModified"], meta.get("ETag"))
                    yield ListedObject(meta["Key"], status)

    def connect(self) -> None:
        """Checks that the store can be reached.

        Raises:
            UsageError: a package or credentials are missing, there is no such bucket, or the
                server cannot be reached.
        """
        connection(self.scheme, self.bucket)

    def _client(self) -> Any:
        """The botocore client, for what obstore cannot do."""
        client = connection(self.scheme, self.bucket)[1]
        if client is None:
            raise BoatinferError(
                f"{self.scheme}://{self.bucket} has keys with empty segments or control "
                "characters, which can be read from S3 only; rename these objects."
            )
        return client

    @contextlib.contextmanager
    def _store_errors_translated(self, read_only: bool = False) -> Iterator[Any]:
        """Yields the obstore store; errors of the store become an `OSError`.

        Args:
            read_only: whether a key that obstore refuses is allowed, as botocore reads it.

        Raises:
            UsageError: obstore would refuse the key, or write to another one.
        """
        if not read_only and _needs_botocore(self.key):
            raise unsupported_key_error(str(self))
        store = connection(self.scheme, self.bucket)[0]
        with translate_store_errors(str(self)):
            yield store


class _Reader(io.RawIOBase):
    """Wraps obstore's reader of an object as a file object for pyarrow."""

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
        with self._path._store_errors_translated():
            return bytes(self._reader.read(None if size < 0 else size))


def _status(meta: Any) -> Status:
    return Status.from_store(meta["size"], meta["last_modified"], meta["e_tag"], meta["version"])


def _status_of(response: Any) -> Status:
    """The metadata in a response of botocore."""
    return Status.from_store(response["ContentLength"], response["LastModified"], response["ETag"])


def _needs_botocore(key: str) -> bool:
    """Whether obstore refuses a key: empty, ``.`` or ``..`` segments, or control characters."""
    if key.isprintable() and "//" not in key and "/." not in key and key[:1] not in {"/", "."}:
        return False
    segments = key.split("/")
    return not {"", ".", ".."}.isdisjoint(segments) or bool(re.search(r"[\x00-\x1f\x7f]", key))
