r"""A folder to the list of image files in it, with nothing left out silently.

Hidden files and folders are skipped, and so are the results folder and those in which systems
keep thumbnails and deleted files. Links to files and folders are followed, and every folder is
entered once, however many links lead to it. A folder that may not be listed becomes an entry of
its own (its path ends in ``/``), which the run records as a failure.

A path is stored as text, relative and with ``/``. A name that is not valid UTF-8 keeps
its stray bytes as ``\xNN`` (and doubles its backslashes), so every name has exactly one
text and `from_text` gives the name back.
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

__all__ = ["Choice", "Found", "LeftOut", "listed", "names", "scan"]

#: Endings, and names of folders, that are counted one by one, and that are named afterwards.
_MOST_DISTINCT, _MOST_NAMED = 10_000, 40
NO_ENDING, THE_REST = "(no ending)", "(others)"

_Identity = tuple[int, int]


class Found(NamedTuple):
    """One file as the listing saw it.

    Attributes:
        path: text of the path relative to the scanned folder; ends in ``/`` for a folder
            that could not be listed.
        bytes: size; -1 where it could not be told.
        mtime_ns: time of the last change, nanoseconds since 1970; -1 likewise.
    """

    path: str
    bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str, status: Status) -> Found:
        """Makes one of what the system says of a file; everything recorded comes through here.

        A table has 64 bits for each number. A time that they cannot hold, before 1677 or after
        2262, is taken modulo 2**64, so that a change of it is still seen.
        """
        return cls(path, _int64(status.st_size), _int64(status.st_mtime_ns))


def _int64(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


class LeftOut:
    """What a listing has seen and not taken."""

    def __init__(self) -> None:
        self._files: Counter[str] = Counter()
        self._folders: Counter[str] = Counter()
        self._last_folder = ""

    @property
    def other_files(self) -> dict[str, int]:
        """Numbers of files that are no images, by their ending in lower case."""
        return _commonest(self._files)

    @property
    def system_folders(self) -> dict[str, int]:
        """Numbers of folders of the system that were not entered, by their name."""
        return _commonest(self._folders)

    def file(self, name: str) -> None:
        """Counts a file that is no image."""
        _count(self._files, to_text(extension_of(name)) or NO_ENDING)

    def folder(self, path: str) -> None:
        """Counts a folder of the system, once for all its files that come one after the other."""
        if path != self._last_folder:
            self._last_folder = path
            _count(self._folders, to_text(path.rsplit("/", maxsplit=1)[-1]))


def _count(counts: Counter[str], what: str) -> None:
    counts[what if what in counts or len(counts) < _MOST_DISTINCT else THE_REST] += 1


def _commonest(counts: Counter[str]) -> dict[str, int]:
    """The counts that are named, the largest first, and the sum of the others."""
    named = dict(counts.most_common(_MOST_NAMED))
    rest = counts.total() - sum(named.values()) + named.pop(THE_REST, 0)
    return named | ({THE_REST: rest} if rest else {})


@dataclass(frozen=True)
class Choice:
    """Which files of a folder count.

    A pattern with a ``/`` is matched against the path relative to the folder, any other
    against the name; ``*`` matches ``/`` too. An excluded folder is not entered.

    Attributes:
        recursive: whether sub-folders are entered.
        include: patterns of which a file must match one; none means all files.
        exclude: patterns of which neither a file nor a folder may match any.
        sniff: whether files of unknown endings count by their first bytes; None means where
            that is cheap, which is on a disk.
        system_folders: whether folders of the system are entered.
    """

    recursive: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sniff: bool | None = None
    system_folders: bool = False

    def takes(self, name: str, path: str) -> bool:
        """Whether the patterns take a file."""
        if not (self.include or self.exclude):
            return True
        return (not self.include or _matches(self.include, name, path)) and not self.refuses(
            name, path
        )

    def refuses(self, name: str, path: str) -> bool:
        """Whether the patterns exclude a file or folder."""
        return bool(self.exclude) and _matches(self.exclude, name, path)

    def passes_over(self, name: str) -> bool:
        """Whether a folder is one of the system's, and such are not entered."""
        return not self.system_folders and is_system_folder(name)


def _matches(patterns: Iterable[str], name: str, path: str) -> bool:
    return any(fnmatchcase(path if "/" in p else name, p) for p in patterns)


def scan(
    folder: Path,
    skip: Place | None = None,
    choice: Choice | None = None,
    left_out: LeftOut | None = None,
    stopped: Callable[[], object] = lambda: False,
) -> Iterator[Found]:
    """Lists the image files of a folder, in no particular order.

    Args:
        folder: where to start.
        skip: a folder that is not entered: the results folder, should it lie inside.
        choice: which files count; None means all image files below the folder.
        left_out: counts what is not taken.
        stopped: looked at before each file; ends the listing.

    Yields:
        One `Found` per image file, or per folder that could not be listed.

    Raises:
        UsageError: ``folder`` is missing, is no folder, or cannot be listed.
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
    return _Walk(choice or Choice(), skipped, left_out or LeftOut(), stopped).files(str(folder))


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


@dataclass
class _Walk:
    """A walk over folders, each entered once, and through a link only if not otherwise."""

    choice: Choice
    entered: set[_Identity]
    left_out: LeftOut
    stopped: Callable[[], object]
    folders: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)

    def files(self, folder: str) -> Iterator[Found]:
        """Yields the files of a folder and of those below it."""
        self.folders.append((folder, ""))
        while self.folders or self.links:
            folder, prefix = self.folders.pop() if self.folders else self.links.pop()
            try:
                with _opened(folder) as opened:
                    if self._enters(opened):
                        with os.scandir(opened) as entries:
                            by_name = sorted(entries, key=attrgetter("name"), reverse=True)
                        yield from self._listed(by_name, folder, prefix)
            except OSError:
                yield Found(to_text(prefix) or "/", -1, -1)

    def _enters(self, folder: str | int) -> bool:
        identity = _identity(os.stat(folder))  # noqa: PTH116
        new = identity not in self.entered
        self.entered.add(identity)
        return new

    def _listed(
        self, entries: Iterable[os.DirEntry[str]], folder: str, prefix: str
    ) -> Iterator[Found]:
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
            elif self.choice.takes(name, path):
                if has_image_extension(name) or self._looks_like_image(name, folder):
                    yield _found(entry, path)
                else:
                    self.left_out.file(name)

    def _put_off(self, entry: os.DirEntry[str], folder: str, path: str) -> None:
        """Has a folder entered later, if it is to be."""
        name, choice = entry.name, self.choice
        if not choice.recursive or choice.refuses(name, path):
            return
        if choice.passes_over(name):
            self.left_out.folder(path)
            return
        waiting = self.links if entry.is_symlink() else self.folders
        waiting.append((f"{folder}/{name}", path + "/"))

    def _looks_like_image(self, name: str, folder: str) -> bool:
        """Whether a file of an unknown ending is an image by its first bytes."""
        return (
            self.choice.sniff is not False
            and not has_known_extension(name)
            and has_image_signature(f"{folder}/{name}")
        )


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[str | int]:
    """Opens a folder where the system lists by handles, which makes telling sizes faster."""
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
        # A link in a ring is nothing; what else cannot be told is entered, and fails as a folder.
        return error.errno != errno.ELOOP and not has_image_extension(entry.name)


def _found(entry: os.DirEntry[str], path: str) -> Found:
    try:
        status = entry.stat()
    except OSError:  # a dangling link, or gone since; reading it will tell
        return Found(to_text(path), -1, -1)
    return Found.of(to_text(path), status)


def listed(folder: Path, source: Place, choice: Choice | None = None) -> Iterator[Found]:
    """Takes the files that a list names instead of looking for them.

    Args:
        folder: what relative paths are relative to, as the user wrote it.
        source: a file with one path a line, or paths that end in NUL bytes; ``-`` is the
            standard input.
        choice: its patterns must take the file too; endings do not matter.

    Yields:
        One `Found` per path, each path once, whether or not there is such a file; but none for
        a folder of which the list names something, as ``find`` writes them.

    Raises:
        UsageError: the list cannot be read, or a path leads out of the folder.
    """
    choice = choice or Choice()
    paths = dict.fromkeys(_relative(folder, name) for name in names(source))
    holders = _holders(paths)
    for path in paths:
        if not choice.takes(path.rsplit("/")[-1], path):
            continue
        try:
            status = os.stat(folder / path)  # noqa: PTH116
        except OSError:
            yield Found(to_text(path), -1, -1)
        else:
            if not (path in holders and stat.S_ISDIR(status.st_mode)):
                yield Found.of(to_text(path), status)


def _holders(paths: Collection[str]) -> set[str]:
    """The folders that others of the paths lie in."""
    holders = {"."} if len(paths) > 1 else set()
    for path in paths:
        holder = path.rpartition("/")[0]
        while holder and holder not in holders:
            holders.add(holder)
            holder = holder.rpartition("/")[0]
    return holders


def names(source: Place) -> list[str]:
    """Reads the paths of a list, as `listed` describes it.

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
        found = raw.split(b"\0")
    else:
        lines = raw.removeprefix(codecs.BOM_UTF8).split(b"\n")
        found = [line.removesuffix(b"\r") for line in lines]
    return [os.fsdecode(name) for name in found if name]


def _relative(folder: Path, name: str) -> str:
    """The path relative to the folder, be that named by a link or not."""
    for base in (os.path.abspath(folder), os.path.realpath(folder)):  # noqa: PTH100
        with contextlib.suppress(ValueError):  # it is on another drive of Windows
            path = os.path.relpath(os.path.join(base, name), base)  # noqa: PTH118
            if path != ".." and not path.startswith(f"..{os.sep}"):
                return path.replace(os.sep, "/")
    raise UsageError(f"--from-file: {name} lies outside {folder}; give paths within it.")
