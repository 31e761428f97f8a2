"""Downloads and unpacks an archive of labelled images, completely or not at all."""

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
from boattrain.data.fetch import ARCHIVE_NAME, fetch
from boattrain.data.options import DownloadOptions
from boattrain.data.unpack import strip_top_folder, unpack

__all__ = ["download"]


def download(options: DownloadOptions) -> int:
    """Downloads an archive of labelled images and unpacks it.

    An interrupted download is kept in the folder DATA.part beside DATA, and the same call
    resumes it. DATA appears once it is complete. A single top-level folder in the archive, as
    most have, is left out of the paths.

    Args:
        options: the URL, the output folder, and an optional checksum.

    Returns:
        The number of files.

    Raises:
        UsageError: the URL or the archive cannot be used, or the checksum differs.
        BusyError: another process is downloading to the same folder.
        OutputError: the connection failed repeatedly, or the disk is full.
    """
    expected = _parse_checksum(options.sha256)
    require_new_folder(options.output)
    with _fetched_archive(options.url, options.output) as archive:
        _verify_checksum(archive, expected, options.url)
        with atomic_folder(options.output) as folder:
            files = unpack(archive, folder, options.url)
            strip_top_folder(folder)
    return files


def _parse_checksum(text: str | None) -> str | None:
    if text is not None and not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise UsageError(
            f"--sha256 {text} is not a SHA-256 checksum, which has 64 digits from 0 to f."
        )
    return text.lower() if text else None


@contextlib.contextmanager
def _fetched_archive(url: str, output: Path) -> Iterator[Path]:
    """Yields the path of the archive; a downloaded one is removed once it is unpacked."""
    local_path = _local_file(url)
    if local_path is not None:
        yield local_path
        return
    real_output = Path(os.path.realpath(output))
    part_folder = real_output.with_name(f"{real_output.name}.part")
    with translate_write_errors(part_folder), _locked(part_folder, output):
        try:
            archive = fetch(url, part_folder)
        except BaseException:
            if not (part_folder / ARCHIVE_NAME).stat().st_size:
                shutil.rmtree(part_folder, ignore_errors=True)
            raise
        try:
            yield archive
        except UsageError:  # resuming would fail in the same way
            shutil.rmtree(part_folder, ignore_errors=True)
            raise
        shutil.rmtree(part_folder, ignore_errors=True)


def _local_file(url: str) -> Path | None:
    """Returns the path of a file:// URL, or None for an http:// or https:// URL.

    Raises:
        UsageError: the URL has another scheme, or the file does not exist.
    """
    with contextlib.suppress(ValueError):  # from urlsplit
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return None
        if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
            path = Path(url2pathname(parts.path))
            if not path.is_file():
                raise UsageError(f"the file {path} does not exist; check the URL.")
            return path
    raise UsageError(
        f"{url} is not an http:// or https:// URL; for a local file write file:// and its "
        "absolute path."
    )


@contextlib.contextmanager
def _locked(part_folder: Path, output: Path) -> Iterator[None]:
    part_folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(part_folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise BusyError(f"another process is downloading to {output}; wait for it.") from None


def _verify_checksum(archive: Path, expected: str | None, url: str) -> None:
    if expected is None:
        return
    with archive.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise UsageError(
            f"{url} has the SHA-256 {actual}, not that of --sha256; it was not unpacked."
        )
