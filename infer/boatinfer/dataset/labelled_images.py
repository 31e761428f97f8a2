"""Finds the images of a training: in class folders or in a table, split already or split here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from boatinfer.dataset.class_folders import (
    LabelledFiles,
    find_classes,
    find_splits,
    list_files,
    require_every_class,
    require_images,
    split_folders,
    split_paths,
)
from boatinfer.dataset.groups import CONTENT, group_names, link_groups, split_by_groups
from boatinfer.dataset.label_tables import GROUP, read_label_table
from boatinfer.dataset.near_duplicates import near_duplicates, read_thumbnails
from boatinfer.dataset.splits import TEST, TRAIN, VALID, stratify
from boatinfer.errors import UsageError
from boatinfer.text import from_text, joined

__all__ = ["VALID_SHARE", "Collection", "assign_splits", "find_images", "read_collection"]

#: Default share of the validation split.
VALID_SHARE = 0.1


class Collection(NamedTuple):
    """All images of a training's data.

    Attributes:
        files: the images, class by class.
        splits: train, valid or test of each; None if they are not split.
        columns: the columns of the table by name, a text for each image; none without a table.
        folders: the folder of each split, if they are folders.
    """

    files: LabelledFiles
    splits: list[str] | None
    columns: Mapping[str, list[str]]
    folders: Mapping[str, Path]

    def of(self, split: str) -> LabelledFiles:
        """The images of a split."""
        files = self.files.select([name == split for name in self.splits or []])
        return files._replace(folder=self.folders.get(split, files.folder))

    def groups(self, by: str) -> list[str]:
        """The group of each image, see `boatinfer.dataset.groups.group_names`."""
        return group_names(by, self.files.names, self.files.class_names, self.columns)

    def default_group(self, by: str | None) -> str | None:
        """What keeps images together: ``by``, else the table's column ``group`` if it is filled."""
        return by or (GROUP if any(self.columns.get(GROUP, [])) else None)


def find_images(
    data: Path,
    valid: float = VALID_SHARE,
    *,
    table: Path | None = None,
    group_by: str | None = None,
) -> tuple[LabelledFiles, LabelledFiles]:
    """Lists the images of train and valid.

    Images that are not split are split here; the split is deterministic.

    Args:
        data: the folder that holds ``train/`` and ``valid/``, or class folders; with a table the
            folder that its paths are relative to.
        valid: the validation share of each class, if the split is made here.
        table: a table of labels, see `boatinfer.dataset.label_tables`.
        group_by: what keeps images together, see `boatinfer.dataset.groups.group_names`.

    Raises:
        UsageError: a folder is missing, there are fewer than two classes, a split has no images,
            train lacks a class, or a group is in more than one split.
    """
    collection = read_collection(data, table)
    by = collection.default_group(group_by)
    if collection.splits is None:
        splits = assign_splits(collection, {VALID: valid}, by)
        train, valid_files = (collection._replace(splits=splits).of(s) for s in (TRAIN, VALID))
        if by is None:
            _require_both(data, train, valid_files)
    else:
        train, valid_files = collection.of(TRAIN), collection.of(VALID)
        if by:
            _require_apart(collection, by)
    require_every_class(train.folder, train.classes, train.labels)
    require_images(valid_files.folder, valid_files.labels)
    return train._replace(group_by=by or ""), valid_files._replace(group_by=by or "")


def read_collection(data: Path, table: Path | None = None) -> Collection:
    """Lists all images of the data of a training; arguments as for `find_images`.

    Raises:
        UsageError: the folder or table cannot be used.
    """
    if table is not None:
        return _read_table(data, table)
    if not split_folders(data):
        files = list_files(data, data, find_classes(data))
        require_every_class(data, files.classes, files.labels)
        return Collection(files, None, {}, {})
    parts = dict(zip((TRAIN, VALID), find_splits(data), strict=True))
    folders = split_paths(data)
    if TEST in folders:
        parts[TEST] = list_files(data, folders[TEST], parts[TRAIN].classes)
    files = parts[TRAIN]._replace(
        folder=data,
        paths=[path for part in parts.values() for path in part.paths],
        labels=[label for part in parts.values() for label in part.labels],
    )
    return Collection(files, [name for name in parts for _ in parts[name].paths], {}, folders)


def _read_table(data: Path, file: Path) -> Collection:
    table = read_label_table(file)
    classes = sorted(set(table.labels))
    if len(classes) < 2:
        raise UsageError(f"{file} has only one class, {classes[0]}; a training needs two or more.")
    # Class by class and by name, as in folders.
    order = sorted(range(len(table.paths)), key=lambda row: (table.labels[row], table.paths[row]))
    paths = [data / from_text(table.paths[row]) for row in order]
    if not any(path.is_file() for path in paths):
        raise UsageError(
            f"{file}: {paths[0]} does not exist, nor does any other image of the table; its paths "
            f"must be relative to {data}, or absolute."
        )
    labels = [classes.index(table.labels[row]) for row in order]
    splits = table.splits and [table.splits[row] for row in order]
    columns = {name: [column[row] for row in order] for name, column in table.columns.items()}
    return Collection(LabelledFiles(data, file, classes, paths, labels), splits, columns, {})


def assign_splits(
    collection: Collection, shares: Mapping[str, float], group_by: str | None, seed: int = 0
) -> list[str]:
    """Assigns images to splits: by class alone, or keeping groups and near duplicates together.

    Args:
        collection: the images.
        shares: share of each split except train.
        group_by: what keeps images together; None for their content alone.
        seed: another seed gives another split.

    Raises:
        UsageError: an image has no group, or there are too few groups.
    """
    files = collection.files
    if group_by is None:
        return stratify(files.data, files.names, files.labels, shares, seed)
    groups = collection.groups(group_by)
    groups = link_groups(groups, near_duplicates(*read_thumbnails(files.paths)))
    return split_by_groups(files.labels, groups, shares, seed)


def _require_both(data: Path, train: LabelledFiles, valid: LabelledFiles) -> None:
    too_few = [train.classes[label] for label in sorted(set(train.labels) - set(valid.labels))]
    if too_few:
        raise UsageError(
            f"{data} cannot be split: it has too few different images of the class "
            f"{', '.join(too_few)}; every class needs two, one for {TRAIN} and one for {VALID}."
        )


def _require_apart(collection: Collection, by: str) -> None:
    """Refuses a split that has a group on two sides."""
    groups, what = collection.groups(by), ""
    if by == CONTENT and by not in collection.columns:
        near = near_duplicates(*read_thumbnails(collection.files.paths))
        groups, what = link_groups(groups, near), "near duplicates of "
    sides: dict[str, set[str]] = {}
    for group, split in zip(groups, collection.splits or [], strict=True):
        sides.setdefault(group, set()).add(split)
    shared = sorted(group for group, splits in sides.items() if len(splits) > 1)
    if shared:
        raise UsageError(
            f"--group-by {by}: {collection.files.folder} has {what}{joined(shared)} in more than "
            "one split; make a new one from class folders with boatinfer data split --group-by."
        )
