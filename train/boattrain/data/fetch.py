"""Downloads a file over HTTP, with retries and resumption.

The partial file is in a folder of its own, with a JSON file of its source. Resuming needs a
server that supports ranges and a file that has not changed (RFC 9110, 14.2 Range and 13.1.5
If-Range); otherwise the download starts over.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import msgspec
import requests
import urllib3
from urllib3.exceptions import NameResolutionError

import boatinfer
from boatinfer.errors import OutputError, UsageError, first_line
from boatinfer.progress import progress_bar
from boatinfer.storage.documents import DocumentError, read_document
from boatinfer.storage.files import atomic_write

__all__ = ["ARCHIVE_NAME", "fetch"]

_log = logging.getLogger(__name__)

#: Name of the downloaded file in the folder.
ARCHIVE_NAME = "archive"

#: Connect and read timeouts, in seconds.
_TIMEOUT = (10, 60)
#: Pauses before retries after consecutive attempts without progress, in seconds; then it fails.
_RETRY_PAUSES = (1.0, 2.0, 4.0, 8.0)
_MAX_PAUSE = 60.0
_CHUNK = 2**16

#: Status codes of temporary errors.
_TEMPORARY_STATUSES = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class _RetryableError(Exception):
    """A failed attempt to retry, after ``pause`` seconds if the server says so."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class _Source(msgspec.Struct):
    """The source of a partial file.

    Attributes:
        url: URL of the file.
        validator: ETag or Last-Modified of the file; empty if the server sent neither.
    """

    url: str
    validator: str


def fetch(url: str, folder: Path) -> Path:
    """Downloads a file, or resumes the download of an earlier call.

    Args:
        url: http or https URL.
        folder: folder for the file; it exists, and no other process uses it.

    Returns:
        The path of the file in the folder.

    Raises:
        UsageError: the host or the file does not exist, or access is denied.
        OutputError: the disk is full, or the connection failed repeatedly; the partial file is
            kept.
    """
    archive = folder / ARCHIVE_NAME
    archive.touch()
    largest_size, failures = archive.stat().st_size, 0
    while True:
        try:
            _attempt(url, archive)
            return archive
        except _RetryableError as error:
            size_now = archive.stat().st_size
            if size_now > largest_size:
                largest_size, failures = size_now, 0
            if failures == len(_RETRY_PAUSES):
                raise OutputError(
                    f"{url} could not be downloaded: {error}; the same command resumes from "
                    f"{size_now:,} bytes."
                ) from error
            pause = _RETRY_PAUSES[failures] if error.pause is None else error.pause
            failures += 1
            _log.warning("%s; trying again in %.0f s", error, pause)
        time.sleep(pause)


def _attempt(url: str, archive: Path) -> None:
    headers = {"User-Agent": f"boatinfer/{boatinfer.__version__}", "Accept-Encoding": "identity"}
    offset, source = archive.stat().st_size, _read_source(archive)
    if offset and source.validator and source.url == url:
        headers |= {"Range": f"bytes={offset}-", "If-Range": source.validator}
    else:
        offset = 0
    with (
        _translated_errors(url),
        requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response,
    ):
        if response.status_code in _TEMPORARY_STATUSES:
            raise _RetryableError(_describe_status(response), _retry_after(response))
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            if _content_range(response) != (None, offset):
                archive.write_bytes(b"")
                raise _RetryableError("the file on the server has changed", 0)
        elif response.status_code == HTTPStatus.PARTIAL_CONTENT and offset:
            start, size = _content_range(response)
            if start != offset or _validator(response) not in {"", source.validator}:
                archive.write_bytes(b"")
                raise _RetryableError("the server sent another range than requested", 0)
            _receive(response, archive, offset, size)
        elif response.status_code == HTTPStatus.OK:
            if offset:
                _log.warning("the download starts over, as the server does not resume it")
            archive.write_bytes(b"")
            _write_source(archive, _Source(url, _validator(response)))
            length = response.headers.get("Content-Length", "")
            _receive(response, archive, 0, int(length) if length.isdecimal() else None)
        else:
            raise UsageError(f"{_describe_status(response)} to {url}; check the URL.")


def _receive(response: requests.Response, archive: Path, offset: int, size: int | None) -> None:
    if size is not None and shutil.disk_usage(archive.parent).free < size - offset:
        raise OutputError(f"there is no space for {size - offset:,} bytes in {archive.parent}.")
    with archive.open("ab") as file, progress_bar("downloading", size, "bytes", offset) as advance:
        # Not decoded: offsets and checksums are those of the file on the server.
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            file.write(chunk)
            advance(len(chunk))
    if size is not None and archive.stat().st_size != size:
        raise _RetryableError("the connection ended too early")


@contextlib.contextmanager
def _translated_errors(url: str) -> Iterator[None]:
    """Translates errors of the libraries to retryable and permanent ones."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        if any(isinstance(cause, NameResolutionError) for cause in _causes(error)):
            message = f"the host of {url} is unknown; check the URL and the network."
            raise UsageError(message) from error
        reason = next(
            (e.strerror for e in _causes(error) if isinstance(e, OSError) and e.strerror), None
        )
        if isinstance(error, requests.exceptions.SSLError):
            raise UsageError(
                f"the TLS connection for {url} failed: {reason or first_line(error)}."
            ) from error
        if isinstance(
            error, requests.ConnectionError | requests.Timeout | urllib3.exceptions.HTTPError
        ):
            raise _RetryableError(
                f"the connection broke ({reason or 'it ended too early'})"
            ) from error
        raise UsageError(f"{url} cannot be downloaded: {first_line(error)}.") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _describe_status(response: requests.Response) -> str:
    return f"the server answered {response.status_code} {response.reason}"


def _retry_after(response: requests.Response) -> float | None:
    """Returns Retry-After in seconds, or None if the server does not send it."""
    seconds = response.headers.get("Retry-After", "")
    return min(float(seconds), _MAX_PAUSE) if seconds.isdecimal() else None


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """Returns the start and the total size from Content-Range, each None if missing."""
    match = re.fullmatch(
        r"bytes (?:\*|(\d+)-\d+)/(?:\*|(\d+))", response.headers.get("Content-Range", "")
    )
    start, size = match.groups() if match else (None, None)
    return int(start) if start else None, int(size) if size else None


def _validator(response: requests.Response) -> str:
    """Returns the validator for If-Range: a strong ETag, or else Last-Modified."""
    etag: str = response.headers.get("ETag", "")
    last_modified: str = response.headers.get("Last-Modified", "")
    return etag if etag and not etag.startswith("W/") else last_modified


def _read_source(archive: Path) -> _Source:
    try:
        return read_document(_source_path(archive), _Source)
    except (FileNotFoundError, DocumentError):
        return _Source("", "")


def _write_source(archive: Path, source: _Source) -> None:
    with atomic_write(_source_path(archive)) as temporary:
        temporary.write_bytes(msgspec.json.encode(source))


def _source_path(archive: Path) -> Path:
    return archive.with_name("source.json")
