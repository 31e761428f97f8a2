"""Which files a run works on: what its options choose of a folder, and its shard of that."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec
import xxhash

from boatinfer.errors import UsageError
from boatinfer.file_types import has_image_extension
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.plan import first
from boatinfer.results.left_out import left_out_in_words
from boatinfer.results.store.shards import Shard
from boatinfer.signals import Stop
from boatinfer.storage.base import Place
from boatinfer.storage.folders import list_images, list_named
from boatinfer.storage.listing import FileFilter, LeftOut, ListedFile
from boatinfer.storage.locations import is_remote
from boatinfer.text import printable

__all__ = ["Listing", "Selection"]


class Listing(msgspec.Struct):
    """What shards that list one folder, each for itself, have in common if they saw the same.

    Attributes:
        files: how many there are in all shards together.
        digest: the sum of the xxh3-64 of their paths, modulo 2^64, whatever their order.
    """

    files: int = 0
    digest: int = 0

    def note(self, path: str) -> None:
        """Counts a file."""
        self.files += 1
        self.digest = (self.digest + xxhash.xxh3_64_intdigest(path.encode())) % 2**64


class Selection:
    """The files that a run's options choose.

    Args:
        options: the run's.
        folder: the scanned one, resolved.
        out: the results folder, which is left out should it lie inside.
        shard: which of the files are its own; None means all.
        stop: ends the listing when a signal has come.

    Attributes:
        listing: what has been listed so far, if there is a shard.
        left_out: what has been seen so far and not taken.
    """

    def __init__(
        self, options: RunOptions, folder: Place, out: Place, shard: Shard | None, stop: Stop
    ) -> None:
        self._options, self._folder, self._out = options, folder, out
        self._shard, self._stop = shard, stop
        self.listing = Listing()
        self.left_out = LeftOut()

    def files(self) -> Iterator[ListedFile]:
        """Lists them, until a signal comes."""
        options = self._options
        files: Iterator[ListedFile] = itertools.takewhile(
            lambda _: not self._stop.signal_number, self._chosen()
        )
        if options.limit is not None:
            files = first(files, options.limit)
        return files if self._shard is None else self._sharded(files, self._shard)

    def refuse_empty(self) -> None:
        """Refuses that there are no files, unless `RunOptions.allow_empty`.

        Raises:
            UsageError: there are none.
        """
        if not self._options.allow_empty:
            raise self._nothing_found()

    def _nothing_found(self) -> UsageError:
        """What to say if there are no files."""
        options = self._options
        choosy = options.include or options.exclude
        disk = "" if is_remote(self._folder) else ", and that the disk is there"
        chosen = " that --include and --exclude choose" if choosy else ""
        if options.from_file is not None:
            return UsageError(
                f"{self._list} names no files{chosen}; it must have one path on each line."
            )
        others = "".join(f" ({said})" for said in left_out_in_words(self.left_out))
        return UsageError(
            f"{options.folder} holds no image files{chosen}{others}; check the name{disk}."
            f"{self._hint()}"
        )

    @property
    def _list(self) -> str:
        """What the list of files is called."""
        source = str(self._options.from_file)
        return f"--from-file: {'the standard input' if source == '-' else source}"

    def _hint(self) -> str:
        """What was meant by a pattern that is the name of a folder."""
        for pattern in self._options.include:
            if (self._folder / pattern).is_dir():
                inside = f"{pattern.rstrip('/')}/*"
                return f" {pattern} is a folder: --include '{inside}' takes the images in it."
        return ""

    def _chosen(self) -> Iterator[ListedFile]:
        options, folder = self._options, self._folder
        choice = FileFilter(
            options.recursive,
            tuple(options.include),
            tuple(options.exclude),
            options.sniff,
            options.system_folders,
        )
        if options.from_file is None:
            stopped = lambda: self._stop.signal_number  # noqa: E731
            return list_images(folder, self._out, choice, self.left_out, stopped)
        if has_image_extension(options.from_file.name):
            raise UsageError(
                f"{self._list} is an image and no list of paths; for single images use "
                "'boatinfer classify'."
            )
        base = folder if is_remote(folder) else options.folder  # as the user wrote it
        return self._existing(list_named(base, options.from_file, choice))

    def _existing(self, files: Iterator[ListedFile]) -> Iterator[ListedFile]:
        """The files of a list, unless none of them is there: then it is of another folder."""
        missing: list[ListedFile] = []
        for file in files:
            if file.bytes >= 0:
                yield from (*missing, file)
                yield from files
                return
            missing.append(file)
        if missing:
            raise UsageError(
                f"{self._list} names no file that is there (the first of {len(missing):,} is "
                f"{printable(missing[0].path)}); paths must be absolute, or relative to "
                f"{self._options.folder}."
            )

    def _sharded(self, files: Iterator[ListedFile], shard: Shard) -> Iterator[ListedFile]:
        for file in files:
            self.listing.note(file.path)
            if shard.contains(file.path):
                yield file
