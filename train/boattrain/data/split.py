"""Splits a folder of class folders into train/, valid/ and optionally test/."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from boatinfer.dataset.class_folders import LabelledFiles, split_folders
from boatinfer.dataset.labelled_images import assign_splits, read_collection
from boatinfer.dataset.splits import TEST, TRAIN, VALID, parse_share
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
    if options.table is None and split_folders(source):
        raise UsageError(
            f"{source} is split already: it holds {', '.join(split_folders(source))}; give a "
            "folder with class folders."
        )
    require_new_folder(output)
    collection = read_collection(source, options.table)
    files, classes = collection.files, collection.files.classes
    for name in classes:
        if "/" in name or "\0" in name or name in {".", ".."}:
            raise UsageError(f"the class {name!r} cannot be the name of a folder; rename it.")
    if options.table is None:
        _check_output(source, output)
    group_by = collection.default_group(options.group_by)
    splits = assign_splits(collection, shares, group_by, options.seed)
    with atomic_folder(output) as folder:
        for part in (TRAIN, *shares):
            for name in classes:
                (folder / part / from_text(name)).mkdir(parents=True)
        targets = _targets(folder, files, splits, is_table=options.table is not None)
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


def _targets(
    folder: Path, files: LabelledFiles, splits: Sequence[str], *, is_table: bool
) -> list[Path]:
    """Where each image goes: below the folder of its class, as in the source.

    The images of a table lie anywhere; their names get a number where two would be the same.
    """
    if not is_table:
        names = [path.relative_to(files.data) for path in files.paths]
        return [folder / split / name for split, name in zip(splits, names, strict=True)]
    targets: dict[Path, None] = {}
    for split, label, path in zip(splits, files.class_names, files.paths, strict=True):
        target = free = folder / split / from_text(label) / path.name
        number = 1
        while free in targets:
            number += 1
            free = target.with_name(f"{target.stem}-{number}{target.suffix}")
        targets[free] = None
    return list(targets)


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
