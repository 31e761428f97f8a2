"""Splits a folder of class folders into train/, valid/ and optionally test/."""

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

#: Errors of hard links: other file system, not permitted, too many links, not supported.
_LINK_ERRORS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


class SplitResult(NamedTuple):
    """The result of a split.

    Attributes:
        classes: class names, sorted.
        counts: number of images of each class, in the order of the classes, by split.
    """

    classes: list[str]
    counts: dict[str, list[int]]

    @property
    def without_valid(self) -> list[str]:
        """Classes with too few different images to have one in valid/."""
        counts = zip(self.classes, self.counts[VALID], strict=True)
        return [name for name, count in counts if not count]


def split(options: SplitOptions) -> SplitResult:
    """Copies or links the images of class folders to the splits of a new folder.

    The new folder appears once it is complete; the source is not changed. The images are
    assigned by `boatinfer.dataset.splits.stratify`.

    Args:
        options: source, output folder and shares.

    Raises:
        UsageError: the source cannot be split or read, or the new folder cannot be used.
        OutputError: the new folder could not be written.
    """
    shares = _parse_shares(options)
    source, output = options.source, options.output
    if split_folders(source):
        raise UsageError(
            f"{source} is split already: it holds {', '.join(split_folders(source))}; give a "
            "folder with class folders."
        )
    classes = find_classes(source)
    require_new_folder(output)
    _check_output(source, output)
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
        _transfer(files.paths, targets, link=options.link)
    counts = Counter(zip(splits, files.labels, strict=True))
    return SplitResult(
        classes,
        {part: [counts[part, label] for label in range(len(classes))] for part in (TRAIN, *shares)},
    )


def _parse_shares(options: SplitOptions) -> dict[str, float]:
    shares = {VALID: parse_share(options.valid, "--valid")}
    if options.test is not None:
        shares[TEST] = parse_share(options.test, "--test")
    if sum(shares.values()) >= 1:
        raise UsageError(
            f"--valid {options.valid} and --test {options.test} leave nothing for {TRAIN}; "
            "make them smaller."
        )
    return shares


def _check_output(source: Path, output: Path) -> None:
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(source)):
        raise UsageError(f"{output} is inside {source}; give a path outside of it.")


def _transfer(sources: Sequence[Path], targets: Sequence[Path], *, link: bool) -> None:
    for folder in {target.parent for target in targets}:
        folder.mkdir(parents=True, exist_ok=True)
    transfer = _link if link else _copy
    pairs = list(zip(sources, targets, strict=True))
    map_files_in_threads("linking" if link else "copying", lambda pair: transfer(*pair), pairs)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copy2(source, target)
    except shutil.SpecialFileError as error:
        raise UsageError(f"{source} is not a regular file; move it away.") from error
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
        if error.errno in _LINK_ERRORS:
            raise UsageError(
                f"{source} cannot be hard-linked: {error.strerror}; use --copy."
            ) from error
        raise
