r"""Lists the image files of a folder, and counts what it leaves out.

Hidden files and folders are skipped, and so are the results folder and the folders in which
systems keep thumbnails and deleted files. Links to files and folders are followed, and every folder
is listed once, however many links lead to it. A folder that cannot be listed becomes an entry of
its own (its path ends in ``/``), which the run records as a failure.

A path is stored as text, relative and with ``/``. In a name that is not valid UTF-8, invalid bytes
become ``\xNN`` and backslashes are doubled, so every name has exactly one text, and `from_text`
restores the name.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from boatinfer.errors import UsageError
from boatinfer.file_types import (
    extension_of,
    has_image_extension,
    has_image_signature,
    has_known_extension,
    is_system_folder,
)
from boatinfer.storage.base import Place, Status
from boatinfer.text import to_text

__all__ = ["FileFilter", "LeftOut", "ListedFile", "files_from_list", "read_path_list", "scan"]

#: Maximum number of distinct extensions and folder names that are counted, and that are reported.
_MOST_DISTINCT, _MOST_NAMED = 10_000, 40
NO_EXTENSION, OTHERS = "(no ending)", "(others)"

_Identity = tuple[int, int]


class ListedFile(NamedTuple):
    """One file of a listing.

    Attributes:
        path: text of the path relative to the scanned folder; ends in ``/`` for a folder
            that could not be listed.
        bytes: size; -1 if unknown.
        mtime_ns: time of the last change, nanoseconds since 1970; -1 if unknown.
    """

    path: str
    bytes: int
    mtime_ns: int

    @classmethod
    def from_status(cls, path: str, status: Status) -> ListedFile:
        """Makes an entry from the status of a file; all recorded entries are made here.

        Tables store 64-bit integers. A time outside of that range, before 1677 or after 2262, is
        taken modulo 2**64, so that a change of it is still noticed.
        """
        return cls(path, _int64(status.st_size), _int64(status.st_mtime_ns))


def _int64(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


class LeftOut:
    """Counts the files and folders that a listing leaves out."""

    def __init__(self) -> None:
        self._files: Counter[str] = Counter()
        self._folders: Counter[str] = Counter()
        self._last_folder = ""

    @property
    def other_files(self) -> dict[str, int]:
        """Numbers of files that are not images, by extension in lower case."""
        return _most_common(self._files)

    @property
    def system_folders(self) -> dict[str, int]:
        """Numbers of system folders that were not listed, by name."""
        return _most_common(self._folders)

    def file(self, name: str) -> None:
        """Counts a file that is not an image."""
        _count(self._files, to_text(extension_of(name)) or NO_EXTENSION)

    def folder(self, path: str) -> None:
        """Counts a system folder; consecutive calls for the same one count once."""
        if path != self._last_folder:
            self._last_folder = path
            _count(self._folders, to_text(path.rsplit("/", maxsplit=1)[-1]))


def _count(counts: Counter[str], name: str) -> None:
    counts[name if name in counts or len(counts) < _MOST_DISTINCT else OTHERS] += 1


def _most_common(counts: Counter[str]) -> dict[str, int]:
    """The largest counts, in descending order, and the sum of the others."""
    largest = dict(counts.most_common(_MOST_NAMED))
    rest = counts.total() - sum(largest.values()) + largest.pop(OTHERS, 0)
    return largest | ({OTHERS: rest} if rest else {})


@dataclass(frozen=True)
class FileFilter:
    """Which files of a folder are listed.

    A pattern with a ``/`` is matched against the path relative to the folder, any other
    against the name; ``*`` matches ``/`` too. An excluded folder is not listed.

    Attributes:
        recursive: whether sub-folders are listed.
        include: patterns, one of which a file must match; empty means all files.
        exclude: patterns that neither a file nor a folder may match.
        sniff: whether files with unknown extensions are recognised by their first bytes; None
            means only on a disk, where that is fast.
        system_folders: whether system folders are listed.
    """

    recursive: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sniff: bool | None = None
    system_folders: bool = False

    def accepts(self, name: str, path: str) -> bool:
        """Whether the patterns include a file."""
        if not (self.include or self.exclude):
            return True
        return (not self.include or _matches(self.include, name, path)) and not self.excludes(
            name, path
        )

    def excludes(self, name: str, path: str) -> bool:
        """Whether the patterns exclude a file or folder."""
        return bool(self.exclude) and _matches(self.exclude, name, path)

    def skips_system_folder(self, name: str) -> bool:
        """Whether a folder is a system folder that is not to be listed."""
        return not self.system_folders and is_system_folder(name)


def _matches(patterns: Iterable[str], name: str, path: str) -> bool:
    return any(fnmatchcase(path if "/" in p else name, p) for p in patterns)


def scan(
    folder: Path,
    skip: Place | None = None,
    file_filter: FileFilter | None = None,
    left_out: LeftOut | None = None,
    stopped: Callable[[], object] = lambda: False,
) -> Iterator[ListedFile]:
    """Lists the image files of a folder, in no particular order.

    Args:
        folder: where to start.
        skip: a folder that is not listed: the results folder, should it lie inside.
        file_filter: which files to list; None means all image files below the folder.
        left_out: counts the files and folders that are left out.
        stopped: called before each file; true ends the listing.

    Yields:
        One `ListedFile` per image file, or per folder that could not be listed.

    Raises:
        UsageError: ``folder`` does not exist, is not a folder, or cannot be listed.
    """
    try:
        os.scandir(folder).close()
    except FileNotFoundError:
        raise UsageError(f"the folder {folder} does not exist; check the name.") from None
    except NotADirectoryError:
        raise UsageError(
            f"{folder} is not a folder; for single images use 'boatinfer classify'."
        ) from None
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be listed: {error.strerror}.") from error
    skipped = {_identity(skip.stat())} if isinstance(skip, Path) and skip.exists() else set()
    if _identity(folder.stat()) in skipped:
        raise UsageError(f"the results cannot go into the scanned folder {folder} itself; give -o.")
    return _Walk(file_filter or FileFilter(), skipped, left_out or LeftOut(), stopped).files(
        str(folder)
    )


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


@dataclass
class _Walk:
    """A walk over folders, each listed once; those behind links come last."""

    file_filter: FileFilter
    entered: set[_Identity]
    left_out: LeftOut
    stopped: Callable[[], object]
    folders: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)

    def files(self, folder: str) -> Iterator[ListedFile]:
        """Yields the files of a folder and of those below it."""
        self.folders.append((folder, ""))
        while self.folders or self.links:
            folder, prefix = self.folders.pop() if self.folders else self.links.pop()
            try:
                with _folder_handle(folder) as opened:
                    if self._enters(opened):
                        with os.scandir(opened) as entries:
                            by_name = sorted(entries, key=attrgetter("name"), reverse=True)
                        yield from self._listed(by_name, folder, prefix)
            except OSError:
                yield ListedFile(to_text(prefix) or "/", -1, -1)

    def _enters(self, folder: str | int) -> bool:
        identity = _identity(os.stat(folder))  # noqa: PTH116
        is_new = identity not in self.entered
        self.entered.add(identity)
        return is_new

    def _listed(
        self, entries: Iterable[os.DirEntry[str]], folder: str, prefix: str
    ) -> Iterator[ListedFile]:
        for entry in entries:
            if self.stopped():
                self.folders.clear()
                self.links.clear()
                return
            name = entry.name
            if name.startswith(".") and not is_system_folder(name):
                continue
            path = prefix + name
            if _is_folder(entry):
                self._put_off(entry, folder, path)
            elif name.startswith("."):
                continue
            elif self.file_filter.accepts(name, path):
                if has_image_extension(name) or self._looks_like_image(name, folder):
                    yield _listed_file(entry, path)
                else:
                    self.left_out.file(name)

    def _put_off(self, entry: os.DirEntry[str], folder: str, path: str) -> None:
        """Schedules a folder for listing, unless the filter excludes it."""
        name, file_filter = entry.name, self.file_filter
        if not file_filter.recursive or file_filter.excludes(name, path):
            return
        if file_filter.skips_system_folder(name):
            self.left_out.folder(path)
            return
        pending = self.links if entry.is_symlink() else self.folders
        pending.append((f"{folder}/{name}", path + "/"))

    def _looks_like_image(self, name: str, folder: str) -> bool:
        """Whether a file of unknown extension is an image by its first bytes."""
        return (
            self.file_filter.sniff is not False
            and not has_known_extension(name)
            and has_image_signature(f"{folder}/{name}")
        )


@contextlib.contextmanager
def _folder_handle(folder: str) -> Iterator[str | int]:
    """Opens a folder if `os.scandir` takes file descriptors, which makes `stat` faster."""
    if os.scandir not in os.supports_fd:
        yield folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        # A circular link is skipped; other errors are reported when the folder is listed.
        return error.errno != errno.ELOOP and not has_image_extension(entry.name)


def _listed_file(entry: os.DirEntry[str], path: str) -> ListedFile:
    try:
        status = entry.stat()
    except OSError:  # a broken link, or deleted since; reading it will report the error
        return ListedFile(to_text(path), -1, -1)
    return ListedFile.from_status(to_text(path), status)


def files_from_list(
    folder: Path, source: Place, file_filter: FileFilter | None = None
) -> Iterator[ListedFile]:
    """Gives the files that a list names, instead of searching a folder.

    Args:
        folder: the base of relative paths, as the user wrote it.
        source: a file with one path per line, or with paths terminated by NUL bytes; ``-`` is the
            standard input.
        file_filter: its patterns must accept the file; extensions do not matter.

    Yields:
        One `ListedFile` per distinct path, whether or not the file exists; but none for a folder
        of which the list also names a file or folder, as the output of ``find`` does.

    Raises:
        UsageError: the list cannot be read, or a path leads out of the folder.
    """
    file_filter = file_filter or FileFilter()
    paths = dict.fromkeys(_relative(folder, name) for name in read_path_list(source))
    parents = _parent_folders(paths)
    for path in paths:
        if not file_filter.accepts(path.rsplit("/")[-1], path):
            continue
        try:
            status = os.stat(folder / path)  # noqa: PTH116
        except OSError:
            yield ListedFile(to_text(path), -1, -1)
        else:
            if not (path in parents and stat.S_ISDIR(status.st_mode)):
                yield ListedFile.from_status(to_text(path), status)


def _parent_folders(paths: Collection[str]) -> set[str]:
    """The folders that contain any of the paths."""
    parents = {"."} if len(paths) > 1 else set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in parents:
            parents.add(parent)
            parent = parent.rpartition("/")[0]
    return parents


def read_path_list(source: Place) -> list[str]:
    """Reads the paths of a list; the format is described at `files_from_list`.

    Raises:
        UsageError: the list cannot be read.
    """
    try:
        if str(source) != "-":
            raw = source.read_bytes()
        elif sys.stdin is None:
            raise UsageError("--from-file -: the standard input is closed.")
        else:
            raw = sys.stdin.buffer.read()
    except OSError as error:
        raise UsageError(f"the list {source} cannot be read: {error.strerror}.") from error
    if b"\0" in raw:
        paths = raw.split(b"\0")
    else:
        lines = raw.removeprefix(codecs.BOM_UTF8).split(b"\n")
        paths = [line.removesuffix(b"\r") for line in lines]
    return [os.fsdecode(name) for name in paths if name]


def _relative(folder: Path, name: str) -> str:
    """The path relative to the folder, whose own path may contain links."""
    for base in (os.path.abspath(folder), os.path.realpath(folder)):  # noqa: PTH100
        with contextlib.suppress(ValueError):  # another drive on Windows
            path = os.path.relpath(os.path.join(base, name), base)  # noqa: PTH118
            if path != ".." and not path.startswith(f"..{os.sep}"):
                return path.replace(os.sep, "/")
    raise UsageError(f"--from-file: {name} lies outside {folder}; give paths within it.")
