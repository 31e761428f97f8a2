"""Unpacks untrusted archives; no file is written outside of the target folder.

Only regular files and folders are created: a link in a tar archive becomes a copy of the file
that it points to, so no link can redirect a later member.
"""

from __future__ import annotations

import contextlib
import errno
import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from boatinfer.dataset.splits import SPLITS
from boatinfer.errors import OutputError, UsageError, first_line
from boatinfer.progress import progress_bar

__all__ = ["MAX_EXPANSION", "MIN_SIZE_LIMIT", "strip_top_folder", "unpack"]

#: Largest ratio of unpacked to packed size; photographs are hardly compressible.
MAX_EXPANSION = 100
#: Unpacked size in bytes that is always allowed.
MIN_SIZE_LIMIT = 2**30

#: Disk space counted for each file in addition to its content.
_BLOCK_BYTES = 4096
_CHUNK = 2**20

#: Patterns of the first bytes of other formats, and what to do about them.
_OTHER_FORMATS = {
    rb"Rar!\x1a\x07": "is a RAR archive; unpack it with unrar or 7-Zip",
    rb"7z\xbc\xaf\x27\x1c": "is a 7z archive; unpack it with 7-Zip",
    rb"\s*<": "is a web page and not an archive; look there for the URL of the archive itself",
}

_DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,  # a broken link
    NotImplementedError,  # an unsupported compression method
    RecursionError,  # a link to itself
    ValueError,
)


class _Member(NamedTuple):
    """A member of an archive.

    Attributes:
        name: path in the archive, with ``/``.
        open: opens the content; None for a folder.
    """

    name: str
    open: Callable[[], IO[bytes]] | None


def unpack(archive: Path, folder: Path, name: str) -> int:
    """Unpacks a zip or tar archive (plain, gzip, bzip2 or xz), recognised by its content.

    Metadata files of macOS are skipped.

    Args:
        archive: the archive file.
        folder: target folder; it exists and is empty.
        name: name of the archive in error messages.

    Returns:
        The number of files.

    Raises:
        UsageError: the file is not such an archive or is damaged, a member is a device, is
            outside of the folder or links there, or the unpacked size is too large.
        OutputError: the disk is full.
    """
    _reject_other_formats(archive, name)
    limit = max(MIN_SIZE_LIMIT, MAX_EXPANSION * archive.stat().st_size)
    files = written = 0

    def check_size(size: int) -> None:
        nonlocal written
        written += size
        if written > limit:
            raise UsageError(
                f"{name} unpacks to more than {limit:,} bytes, like a decompression bomb; if "
                "you trust it, unpack it with another tool."
            )
        if shutil.disk_usage(folder).free < size:
            raise OutputError(
                f"there is not enough disk space to unpack {name}; free some and try again."
            )

    with (
        _translated_errors(name),
        _open_archive(archive) as members,
        progress_bar("unpacking", None, "files") as advance,
    ):
        for member in members:
            target = _target_path(folder, member.name)
            if target is None:
                continue
            check_size(_BLOCK_BYTES)
            if member.open is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as content, target.open("wb") as file:
                while chunk := content.read(_CHUNK):
                    check_size(len(chunk))
                    file.write(chunk)
            files += 1
            advance(1)
    return files


def strip_top_folder(folder: Path) -> None:
    """Moves the content of a single sub-folder up, repeatedly.

    A split folder is kept, and so is a folder without sub-folders, which may be a class.
    """
    while True:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if len(entries) != 1 or entries[0].name.casefold() in SPLITS:
            return
        if not entries[0].is_dir() or not any(path.is_dir() for path in entries[0].iterdir()):
            return
        inner = entries[0].rename(folder / ".lifted")
        for path in inner.iterdir():
            path.rename(folder / path.name)
        inner.rmdir()


def _reject_other_formats(archive: Path, name: str) -> None:
    with archive.open("rb") as file:
        start = file.read(512)
    for pattern, advice in _OTHER_FORMATS.items():
        if re.match(pattern, start):
            raise UsageError(f"{name} {advice}.")


@contextlib.contextmanager
def _translated_errors(name: str) -> Iterator[None]:
    """Translates errors of the libraries for a damaged archive to a UsageError."""
    try:
        yield
    except (*_DAMAGE_ERRORS, OSError) as error:
        # Errors of the disk have an errno; EINVAL is a seek before the start of a damaged archive.
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise
        raise UsageError(
            f"{name} is not a zip or tar archive, or is damaged "
            f"({first_line(error).rstrip(':.')}); check the URL, and the file there."
        ) from error


@contextlib.contextmanager
def _open_archive(archive: Path) -> Iterator[Iterator[_Member]]:
    with archive.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        with zipfile.ZipFile(archive) as archive_file:
            yield (_zip_member(archive_file, info) for info in archive_file.infolist())
    else:
        with tarfile.open(archive) as tar:
            yield _tar_members(tar)


def _zip_member(archive_file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise UsageError(f"the archive holds {info.filename!r}, which is a link or a device.")
    if info.flag_bits & 1:
        raise UsageError("the archive is encrypted; unpack it with its password and another tool.")
    name = info.filename.replace("\\", "/")  # as some tools on Windows write
    return _Member(name, None if name.endswith("/") else partial(archive_file.open, info))


def _tar_members(tar: tarfile.TarFile) -> Iterator[_Member]:
    for info in tar:
        _check_member(info)
        yield _Member(info.name, None if info.isdir() else partial(_open_member, tar, info))
    # A damaged header ends the loop like the end of the archive, which is a block of zeros.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends in the middle")


def _check_member(info: tarfile.TarInfo) -> None:
    """Rejects devices and links to outside; without `tarfile.data_filter`, all links."""
    if not hasattr(tarfile, "data_filter"):
        if not (info.isreg() or info.isdir()):
            raise UsageError(f"the archive holds {info.name!r}, which is a link or a device.")
        return
    try:
        tarfile.data_filter(info, "/nowhere")
    except tarfile.FilterError as error:
        raise UsageError(f"the archive is not safe to unpack: {first_line(error)}.") from error


def _open_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(info)
    if content is None:
        raise UsageError(f"the archive holds {info.name!r}, which is a link to a folder.")
    return content


def _target_path(folder: Path, name: str) -> Path | None:
    """Returns the target path of a member, or None for a metadata file of macOS.

    Raises:
        UsageError: the path is outside of the folder.
    """
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root or ".." in windows.parts:
        raise UsageError(
            f"the archive is not safe to unpack: {name!r} would be outside of the folder."
        )
    parts = PurePosixPath(name).parts
    if parts and (parts[0] == "__MACOSX" or parts[-1] == ".DS_Store" or parts[-1].startswith("._")):
        return None
    return folder.joinpath(*parts)
