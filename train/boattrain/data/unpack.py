"""An archive from elsewhere to files, none of which lands outside its folder.

Nothing but files and folders is made: a link in a tar archive becomes a copy of the file
in it that it points to. So no member can lead a later one astray.
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

__all__ = ["LEAST_LIMIT", "MOST_RATIO", "lift", "unpack"]

#: An archive may unpack to this many times its size; photographs hardly shrink in one.
MOST_RATIO = 100
#: Or to this many bytes, if that is more.
LEAST_LIMIT = 2**30

#: What a file takes on a disk, however small it is.
_BLOCK = 4096
_CHUNK = 2**20

#: First bytes of what people take for a zip or tar archive, and what to do about it.
_OTHERS = {
    rb"Rar!\x1a\x07": "is a RAR archive; unpack it with unrar or 7-Zip",
    rb"7z\xbc\xaf\x27\x1c": "is a 7z archive; unpack it with 7-Zip",
    rb"\s*<": "is a web page and no archive; look there for the address of the archive itself",
}

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    KeyError,  # a link to what is not there
    NotImplementedError,  # a compression that Python lacks
    RecursionError,  # a link to itself
    ValueError,
)


class _Member(NamedTuple):
    """One entry of an archive.

    Attributes:
        name: as the archive has it, with ``/``.
        open: opens its content; None for a folder.
    """

    name: str
    open: Callable[[], IO[bytes]] | None


def unpack(archive: Path, folder: Path, name: str) -> int:
    """Unpacks a zip or tar archive (plain, gzip, bzip2 or xz), told by its content.

    What macOS adds to archives is left out.

    Args:
        archive: the file.
        folder: where to; it exists and is empty.
        name: what to call the archive in an error.

    Returns:
        How many files there are now.

    Raises:
        UsageError: it is no such archive, is damaged, or a member would land outside of the
            folder, is a link to there, a device, or unpacks to an absurd size.
        OutputError: there is no room.
    """
    _refuse_others(archive, name)
    limit = max(LEAST_LIMIT, MOST_RATIO * archive.stat().st_size)
    files = written = 0

    def spend(size: int) -> None:
        nonlocal written
        written += size
        if written > limit:
            raise UsageError(
                f"{name} unpacks to more than {limit:,} bytes, as only crafted archives do; if "
                "you trust it, unpack it with another tool."
            )
        if shutil.disk_usage(folder).free < size:
            raise OutputError(f"there is no room to unpack {name}; make some and try again.")

    with (
        _damage(name),
        _members(archive) as members,
        progress_bar("unpacking", None, "files") as advance,
    ):
        for member in members:
            target = _target(folder, member.name)
            if target is None:
                continue
            spend(_BLOCK)
            if member.open is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as content, target.open("wb") as file:
                while chunk := content.read(_CHUNK):
                    spend(len(chunk))
                    file.write(chunk)
            files += 1
            advance(1)
    return files


def lift(folder: Path) -> None:
    """Empties the one sub-folder of a folder into it, again and again.

    A split stays where it is, and so does what may be a class: a folder without folders.
    """
    while True:
        held = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if len(held) != 1 or held[0].name.casefold() in SPLITS:
            return
        if not held[0].is_dir() or not any(path.is_dir() for path in held[0].iterdir()):
            return
        inner = held[0].rename(folder / ".lifted")
        for path in inner.iterdir():
            path.rename(folder / path.name)
        inner.rmdir()


def _refuse_others(archive: Path, name: str) -> None:
    with archive.open("rb") as file:
        start = file.read(512)
    for pattern, what in _OTHERS.items():
        if re.match(pattern, start):
            raise UsageError(f"{name} {what}.")


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    """Turns what the libraries raise for a damaged archive into one sentence."""
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        # Those of the disk have a number; that of a place before the file's begin is the archive's.
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise
        raise UsageError(
            f"{name} is no zip or tar archive, or damaged ({first_line(error).rstrip(':.')}); "
            "check the address, and the file there."
        ) from error


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    with archive.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        with zipfile.ZipFile(archive) as zipped:
            yield (_zip_member(zipped, info) for info in zipped.infolist())
    else:
        with tarfile.open(archive) as tar:
            yield _tar_members(tar)


def _zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise UsageError(f"the archive holds {info.filename!r}, which is a link or a device.")
    if info.flag_bits & 1:
        raise UsageError("the archive is encrypted; unpack it with its password and another tool.")
    name = info.filename.replace("\\", "/")  # which some tools of Windows write
    return _Member(name, None if name.endswith("/") else partial(zipped.open, info))


def _tar_members(tar: tarfile.TarFile) -> Iterator[_Member]:
    for info in tar:
        _require_safe(info)
        yield _Member(info.name, None if info.isdir() else partial(_open, tar, info))
    # A damaged header ends the loop as the end of the archive does; the end is a block of zeros.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends in the middle")


def _require_safe(info: tarfile.TarInfo) -> None:
    """Refuses devices, and links to outside; before Python 3.11.4, which knows them, all links."""
    if not hasattr(tarfile, "data_filter"):
        if not (info.isreg() or info.isdir()):
            raise UsageError(f"the archive holds {info.name!r}, which is a link or a device.")
        return
    try:
        tarfile.data_filter(info, "/nowhere")
    except tarfile.FilterError as error:
        raise UsageError(f"the archive is not safe to unpack: {first_line(error)}.") from error


def _open(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(info)
    if content is None:
        raise UsageError(f"the archive holds {info.name!r}, which is a link to a folder.")
    return content


def _target(folder: Path, name: str) -> Path | None:
    """Where a member goes; None for what macOS adds.

    Raises:
        UsageError: that would be outside of the folder.
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
