"""Splits a folder of class folders into train/, valid/ and optionally test/."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from boatinfer.dataset.class_folders import LabelledFiles, split_folders
from boatinfer.dataset.labelled_images import assign_splits, read_collection
from boatinfer.dataset.splits import TEST, TRAIN, VALID, parse_share
from boatinfer.errors import UsageError
from boatinfer.storage.files import atomic_folder, require_new_folder
from boatinfer.text import from_text
from boattrain.data.options import SplitOptions
from boattrain.data.transfer import (
    free_targets,
    require_folder_names,
    require_inside,
    require_outside,
    transfer,
)

__all__ = ["SplitResult", "split"]


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
    if collection.splits is not None:
        raise UsageError(
            f"{options.table} is split already, by its column split; remove the column to split "
            "anew."
        )
    files, classes = collection.files, collection.files.classes
    require_folder_names(classes)
    if options.table is None:
        require_outside(source, output)
    group_by = collection.default_group(options.group_by)
    splits = assign_splits(collection, shares, group_by, options.seed)
    with atomic_folder(output) as folder:
        for part in (TRAIN, *shares):
            for name in classes:
                (folder / part / from_text(name)).mkdir(parents=True)
        targets = _targets(folder, files, splits, is_table=options.table is not None)
        require_inside(folder, targets)
        transfer(files.paths, targets, link=options.link)
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

    The images of a table lie anywhere, and go straight into the folders of their classes.
    """
    if not is_table:
        names = [path.relative_to(files.data) for path in files.paths]
        return [folder / split / name for split, name in zip(splits, names, strict=True)]
    rows = zip(splits, files.class_names, files.paths, strict=True)
    return free_targets([folder / s / from_text(label) / path.name for s, label, path in rows])
