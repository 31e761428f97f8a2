"""One file from the web, resumed where it stopped.

What has come lies in a folder of its own, beside a note of what it is a part of. Going on
takes a server that knows ranges and a file that is still the same (RFC 9110, 14.2 Range
and 13.1.5 If-Range); otherwise it starts again.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import msgspec
import requests
import typer
import urllib3
from urllib3.exceptions import NameResolutionError

import boatinfer
from boatinfer.errors import OutputError, UsageError, first_line
from boatinfer.progress import progress_bar
from boatinfer.storage.documents import DocumentError, read_document
from boatinfer.storage.files import atomic_write

__all__ = ["ARCHIVE", "fetch"]

#: What has come, in the folder.
ARCHIVE = "archive"

#: Seconds to wait for a connection, and for the next bytes.
_TIMEOUT = (10, 60)
#: Seconds before each new try that follows one without progress; then it is given up.
_PAUSES = (1.0, 2.0, 4.0, 8.0)
_LONGEST_PAUSE = 60.0
_CHUNK = 2**16

#: Answers that may be another one a little later.
_LATER = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class _BrokenError(Exception):
    """A try that failed and is worth another one, after ``pause`` seconds if that is known."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class _Source(msgspec.Struct):
    """What the bytes so far are a part of.

    Attributes:
        url: where they came from.
        validator: the ETag or the date that tells the server's file from a later one; empty
            if the server gave neither.
    """

    url: str
    validator: str


def fetch(url: str, folder: Path) -> Path:
    """Downloads a file; what an earlier call left in the folder is not downloaded again.

    Args:
        url: http or https.
        folder: where the file and the note lie; it exists, and nobody else uses it.

    Returns:
        The file, in the folder.

    Raises:
        UsageError: there is no such host or file, or it may not be had.
        OutputError: there is no room, or the connection broke again and again; what has
            come stays.
    """
    archive = folder / ARCHIVE
    archive.touch()
    furthest, in_vain = archive.stat().st_size, 0
    while True:
        try:
            _try(url, archive)
            return archive
        except _BrokenError as broken:
            reached = archive.stat().st_size
            if reached > furthest:
                furthest, in_vain = reached, 0
            if in_vain == len(_PAUSES):
                raise OutputError(
                    f"{url} could not be downloaded: {broken}; the same command goes on from "
                    f"{reached:,} bytes."
                ) from broken
            pause = _PAUSES[in_vain] if broken.pause is None else broken.pause
            in_vain += 1
            typer.echo(f"{broken}; trying again in {pause:.0f} s", err=True)
        time.sleep(pause)


def _try(url: str, archive: Path) -> None:
    headers = {"User-Agent": f"boatinfer/{boatinfer.__version__}", "Accept-Encoding": "identity"}
    have, source = archive.stat().st_size, _read_source(archive)
    if have and source.validator and source.url == url:
        headers |= {"Range": f"bytes={have}-", "If-Range": source.validator}
    else:
        have = 0
    with _explained(url), requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as got:
        if got.status_code in _LATER:
            raise _BrokenError(_answer(got), _pause(got))
        if got.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if _range(got) != (None, have):
                archive.write_bytes(b"")
                raise _BrokenError("the file there has changed", 0)
        elif got.status_code == HTTPStatus.PARTIAL_CONTENT and have:
            start, size = _range(got)
            if start != have or _validator(got) not in {"", source.validator}:
                archive.write_bytes(b"")
                raise _BrokenError("the server sent another part than it was asked for", 0)
            _receive(got, archive, have, size)
        elif got.status_code == HTTPStatus.OK:
            if have:
                typer.echo("the server starts again from the beginning", err=True)
            archive.write_bytes(b"")
            _write_source(archive, _Source(url, _validator(got)))
            length = got.headers.get("Content-Length", "")
            _receive(got, archive, 0, int(length) if length.isdecimal() else None)
        else:
            raise UsageError(f"{_answer(got)} to {url}; check the address.")


def _receive(got: requests.Response, archive: Path, have: int, size: int | None) -> None:
    if size is not None and shutil.disk_usage(archive.parent).free < size - have:
        raise OutputError(f"there is no room for {size - have:,} bytes in {archive.parent}.")
    with archive.open("ab") as file, progress_bar("downloading", size, "bytes", have) as advance:
        # As they come over the line: positions and checksums are those of the server's file.
        for chunk in got.raw.stream(_CHUNK, decode_content=False):
            file.write(chunk)
            advance(len(chunk))
    if size is not None and archive.stat().st_size != size:
        raise _BrokenError("the connection ended too early")


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """Sorts the errors of the libraries: those worth another try, and the others."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        if any(isinstance(cause, NameResolutionError) for cause in _causes(error)):
            message = f"the host of {url} is not known; check the address and the network."
            raise UsageError(message) from error
        why = next(
            (e.strerror for e in _causes(error) if isinstance(e, OSError) and e.strerror), None
        )
        if isinstance(error, requests.exceptions.SSLError):
            raise UsageError(
                f"the server of {url} cannot be trusted: {why or first_line(error)}."
            ) from error
        if isinstance(
            error,
            requests.ConnectionError
            | requests.Timeout
            | requests.exceptions.ChunkedEncodingError
            | urllib3.exceptions.HTTPError,
        ):
            raise _BrokenError(f"the connection broke ({why or 'it ended too early'})") from error
        raise UsageError(f"{url} cannot be downloaded: {first_line(error)}.") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _answer(got: requests.Response) -> str:
    return f"the server answered {got.status_code} {got.reason}"


def _pause(got: requests.Response) -> float | None:
    """How long the server wants to be left alone, as far as it says so in seconds."""
    seconds = got.headers.get("Retry-After", "")
    return min(float(seconds), _LONGEST_PAUSE) if seconds.isdecimal() else None


def _range(got: requests.Response) -> tuple[int | None, int | None]:
    """Start of the part that came and size of the whole, each None if it is not said."""
    said = re.fullmatch(
        r"bytes (?:\*|(\d+)-\d+)/(?:\*|(\d+))", got.headers.get("Content-Range", "")
    )
    start, size = said.groups() if said else (None, None)
    return int(start) if start else None, int(size) if size else None


def _validator(got: requests.Response) -> str:
    """What If-Range takes: a strong ETag or a date."""
    etag: str = got.headers.get("ETag", "")
    dated: str = got.headers.get("Last-Modified", "")
    return etag if etag and not etag.startswith("W/") else dated


def _read_source(archive: Path) -> _Source:
    try:
        return read_document(_note(archive), _Source)
    except (FileNotFoundError, DocumentError):
        return _Source("", "")


def _write_source(archive: Path, source: _Source) -> None:
    with atomic_write(_note(archive)) as temporary:
        temporary.write_bytes(msgspec.json.encode(source))


def _note(archive: Path) -> Path:
    return archive.with_name("source.json")
