"""An archive of labelled images from the web to a folder, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock, Timeout

from boatinfer.errors import BusyError, UsageError
from boatinfer.storage.files import atomic_folder, require_new_folder, translate_write_errors
from boattrain.data.fetch import ARCHIVE, fetch
from boattrain.data.options import DownloadOptions
from boattrain.data.unpack import lift, unpack

__all__ = ["download"]


def download(options: DownloadOptions) -> int:
    """Downloads an archive of labelled images and unpacks it.

    What has come so far waits in the folder DATA.part, beside DATA; the same call goes on
    from there. DATA gets its name when all is in it. If the archive holds one folder with
    everything in it, as most do, what is in that becomes DATA.

    Args:
        options: what to download, and where to.

    Returns:
        How many files there are.

    Raises:
        UsageError: the address or the archive cannot be used, or the checksum is another.
        BusyError: the same folder is being downloaded by another process.
        OutputError: the connection broke again and again, or the disk is full.
    """
    wanted = _checksum(options.sha256)
    require_new_folder(options.output)
    with _archive(options.url, options.output) as archive:
        _compare(archive, wanted, options.url)
        with atomic_folder(options.output) as folder:
            files = unpack(archive, folder, options.url)
            lift(folder)
    return files


def _checksum(text: str | None) -> str | None:
    if text is not None and not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise UsageError(f"--sha256 {text} is no SHA-256, which has 64 digits from 0 to f.")
    return text.lower() if text else None


@contextlib.contextmanager
def _archive(url: str, output: Path) -> Iterator[Path]:
    """Gives the archive; one that was downloaded is kept until it has been of use."""
    local = _local_file(url)
    if local is not None:
        yield local
        return
    final = Path(os.path.realpath(output))
    part = final.with_name(f"{final.name}.part")
    with translate_write_errors(part), _alone(part, output):
        try:
            archive = fetch(url, part)
        except BaseException:
            if not (part / ARCHIVE).stat().st_size:
                shutil.rmtree(part, ignore_errors=True)
            raise
        try:
            yield archive
        except UsageError:  # another try would end in the same way
            shutil.rmtree(part, ignore_errors=True)
            raise
        shutil.rmtree(part, ignore_errors=True)


def _local_file(url: str) -> Path | None:
    """The path of a file:// address; None for an address of the web.

    Raises:
        UsageError: it is neither, or there is no such file.
    """
    with contextlib.suppress(ValueError):  # from urlsplit
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return None
        if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
            path = Path(url2pathname(parts.path))
            if not path.is_file():
                raise UsageError(f"there is no file {path}; check the address.")
            return path
    raise UsageError(
        f"{url} is no address that begins with http:// or https://; for a file of this machine "
        "write file:// and its whole path."
    )


@contextlib.contextmanager
def _alone(part: Path, output: Path) -> Iterator[None]:
    part.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(part / ".lock", timeout=0):
            yield
    except Timeout:
        raise BusyError(f"{output} is being downloaded by another process; wait for it.") from None


def _compare(archive: Path, wanted: str | None, url: str) -> None:
    if wanted is None:
        return
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise UsageError(
            f"{url} has the SHA-256 {found}, not the one that --sha256 says; it is not unpacked."
        )
