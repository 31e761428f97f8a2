"""A folder of class folders to a new folder with train/, valid/ and perhaps test/."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from boatinfer.dataset.class_folders import (
    find_classes,
    list_files,
    require_every_class,
    split_folders,
)
from boatinfer.dataset.splits import TEST, TRAIN, VALID, parse_share, stratify
from boatinfer.errors import UsageError
from boatinfer.progress import map_files_in_threads
from boatinfer.storage.files import atomic_folder, require_new_folder
from boatinfer.text import from_text
from boattrain.data.options import SplitOptions

__all__ = ["SplitResult", "split"]

#: The file system cannot link here: another one, not the owner's file, too many links.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


class SplitResult(NamedTuple):
    """What a split made.

    Attributes:
        classes: names, sorted.
        counts: images of each class, by split; in the order of the classes.
    """

    classes: list[str]
    counts: dict[str, list[int]]

    @property
    def without_valid(self) -> list[str]:
        """The classes that had too few different images for one in valid."""
        counts = zip(self.classes, self.counts[VALID], strict=True)
        return [name for name, count in counts if not count]


def split(options: SplitOptions) -> SplitResult:
    """Deals the images of class folders to the splits of a new folder.

    The new folder gets its name when it is whole; the source is only read. Which images go
    where is `boatinfer.dataset.splits.stratify`'s to say.

    Args:
        options: what to split, where to and how.

    Raises:
        UsageError: the source cannot be split or read, or the new folder cannot be used.
        OutputError: the new folder could not be written.
    """
    shares = _shares(options)
    source, output = options.source, options.output
    if split_folders(source):
        raise UsageError(
            f"{source} is split already: it holds {', '.join(split_folders(source))}; give a "
            "folder that holds the folders of the classes."
        )
    classes = find_classes(source)
    require_new_folder(output)
    _require_apart(source, output)
    files = list_files(source, source, classes)
    require_every_class(source, classes, files.labels)
    splits = stratify(source, files.names, files.labels, shares, options.seed)
    with atomic_folder(output) as folder:
        for part in (TRAIN, *shares):
            for name in classes:
                (folder / part / from_text(name)).mkdir(parents=True)
        targets = [
            folder / part / path.relative_to(source)
            for part, path in zip(splits, files.paths, strict=True)
        ]
        _bring(files.paths, targets, link=options.link)
    counts = Counter(zip(splits, files.labels, strict=True))
    return SplitResult(
        classes,
        {part: [counts[part, label] for label in range(len(classes))] for part in (TRAIN, *shares)},
    )


def _shares(options: SplitOptions) -> dict[str, float]:
    shares = {VALID: parse_share(options.valid, "--valid")}
    if options.test is not None:
        shares[TEST] = parse_share(options.test, "--test")
    if sum(shares.values()) >= 1:
        raise UsageError(
            f"--valid {options.valid} and --test {options.test} leave nothing for {TRAIN}; "
            "make them smaller."
        )
    return shares


def _require_apart(source: Path, output: Path) -> None:
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(source)):
        raise UsageError(f"{output} lies inside {source}; choose a place outside of it.")


def _bring(sources: Sequence[Path], targets: Sequence[Path], *, link: bool) -> None:
    for folder in {target.parent for target in targets}:
        folder.mkdir(parents=True, exist_ok=True)
    bring = _link if link else _copy
    pairs = list(zip(sources, targets, strict=True))
    map_files_in_threads("linking" if link else "copying", lambda pair: bring(*pair), pairs)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copy2(source, target)
    except shutil.SpecialFileError as error:
        raise UsageError(f"{source} is no regular file; move it away.") from error
    except OSError as error:
        if error.filename != str(source):
            raise
        raise UsageError(
            f"{source} cannot be read: {error.strerror}; repair it or move it away."
        ) from error


def _link(source: Path, target: Path) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        if error.errno in _NO_LINK:
            raise UsageError(
                f"{source} cannot be hard-linked: {error.strerror}; use --copy."
            ) from error
        raise
