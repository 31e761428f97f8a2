"""Lists the files and classes of a folder of labelled images.

The folder holds ``train/<class>/`` and ``valid/<class>/``, or only ``<class>/``, which is then
split here; a class folder's name is the name of the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple

from boatinfer.dataset.splits import TRAIN, VALID, split_name
from boatinfer.errors import UsageError
from boatinfer.storage.listing import FileFilter, scan
from boatinfer.text import from_text, to_text

__all__ = [
    "TRAIN",
    "VALID",
    "LabelledFiles",
    "class_folders",
    "find_classes",
    "find_splits",
    "list_files",
    "require_every_class",
    "require_images",
    "split_folders",
    "split_paths",
]


class LabelledFiles(NamedTuple):
    """The image files of one split, class by class and sorted by name within each.

    Attributes:
        data: the folder that the names of files are relative to.
        folder: the folder of class folders: DATA/train, DATA/valid, or DATA itself; or the table.
        classes: class names, sorted; a label is an index into them.
        paths: paths of the files.
        labels: label of each file.
        group_by: what keeps the images of train and valid apart; empty for nothing.
    """

    data: Path
    folder: Path
    classes: list[str]
    paths: list[Path]
    labels: list[int]
    group_by: str = ""

    @property
    def names(self) -> list[str]:
        """The paths relative to ``data``, or absolute if they are not in it, as text."""
        return [
            to_text((p.relative_to(self.data) if p.is_relative_to(self.data) else p).as_posix())
            for p in self.paths
        ]

    @property
    def class_names(self) -> list[str]:
        """The class of each file."""
        return [self.classes[label] for label in self.labels]

    def select(self, mask: Sequence[bool]) -> LabelledFiles:
        """Selects files by a mask."""
        return self._replace(
            paths=list(compress(self.paths, mask)), labels=list(compress(self.labels, mask))
        )


def find_splits(data: Path) -> tuple[LabelledFiles, LabelledFiles]:
    """Lists the images of the folders of train and valid.

    Raises:
        UsageError: a folder is missing, there are fewer than two classes, train lacks a class, or
            valid has no images.
    """
    folders = split_paths(data)
    for split in (TRAIN, VALID):
        if split not in folders:
            raise UsageError(
                f"{data} holds no folder {split}/; give a folder that holds {TRAIN}/<class>/ and "
                f"{VALID}/<class>/ with the images of each class, or one that holds the folders "
                "of the classes."
            )
    classes = find_classes(folders[TRAIN])
    unknown = sorted(class_folders(folders[VALID]).keys() - set(classes))
    if unknown:
        raise UsageError(
            f"{folders[VALID]} has the class {', '.join(unknown)}, which {folders[TRAIN]} lacks; "
            "add its training images or remove the folder."
        )
    train, valid = (list_files(data, folders[split], classes) for split in (TRAIN, VALID))
    require_every_class(train.folder, classes, train.labels)
    require_images(valid.folder, valid.labels)
    return train, valid


def require_images(folder: Path, labels: Sequence[int], kind: str = "") -> None:
    """Refuses a valid split without images; a class may have none, and has no figures then.

    Raises:
        UsageError: there are no images.
    """
    if not len(labels):
        raise UsageError(
            f"{folder} has no {kind}images in the folders of the classes of {TRAIN}; every "
            "training needs some."
        )


def require_every_class(
    folder: Path, classes: Sequence[str], labels: Iterable[int], kind: str = ""
) -> None:
    """Refuses a split in which a class has no images.

    Args:
        folder: the split's folder.
        classes: class names.
        labels: the labels that occur.
        kind: the kind of images for the message, such as ``"readable "``.

    Raises:
        UsageError: names the classes without images.
    """
    missing = [classes[label] for label in sorted(set(range(len(classes))).difference(labels))]
    if missing:
        classes_are = "class" if len(missing) == 1 else "classes"
        raise UsageError(
            f"{folder} has no {kind}images of the {classes_are} {', '.join(missing)}; every class "
            f"needs some in {TRAIN}."
        )


def class_folders(folder: Path) -> dict[str, Path]:
    """The sub-folders by name, without hidden ones.

    Raises:
        UsageError: there is no such folder, or it cannot be listed.
    """
    try:
        return {
            to_text(entry.name): entry
            for entry in folder.iterdir()
            if entry.is_dir() and not entry.name.startswith(".")
        }
    except FileNotFoundError:
        raise UsageError(f"the folder {folder} does not exist; check the name.") from None
    except NotADirectoryError:
        raise UsageError(
            f"{folder} is not a folder; give one of labelled images, in folders of their classes."
        ) from None
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be listed: {error.strerror}.") from error


def split_folders(data: Path) -> list[str]:
    """Names of the sub-folders that are splits, never classes, sorted."""
    return sorted(name for name in class_folders(data) if split_name(name))


def split_paths(data: Path) -> dict[str, Path]:
    """The folders of train, valid and test, by these names, whatever they are called.

    Raises:
        UsageError: two folders are the same split, such as ``val`` and ``valid``.
    """
    paths: dict[str, Path] = {}
    for name in split_folders(data):
        split = split_name(name)
        assert split is not None
        if split in paths:
            raise UsageError(
                f"{data} holds both {paths[split].name}/ and {name}/, which mean the same; keep "
                "one of them."
            )
        paths[split] = class_folders(data)[name]
    return paths


def list_files(data: Path, folder: Path, classes: list[str]) -> LabelledFiles:
    """Lists the image files of some classes.

    Args:
        data: the folder that the names of files are relative to.
        folder: the folder of class folders.
        classes: class names; a class without a folder has no files.
    """
    folders = class_folders(folder)
    labelled_paths = [
        (folders[name] / from_text(file.path), label)
        for label, name in enumerate(classes)
        if name in folders
        for file in sorted(scan(folders[name], file_filter=FileFilter(sniff=False)))
    ]
    return LabelledFiles(
        data,
        folder,
        classes,
        [path for path, _ in labelled_paths],
        [label for _, label in labelled_paths],
    )


def find_classes(folder: Path) -> list[str]:
    """Names of the classes in a folder of class folders, sorted.

    Raises:
        UsageError: there is no such folder, it has fewer than two classes, or one of them
            contains splits.
    """
    folders = class_folders(folder)
    for name, path in sorted(folders.items()):
        splits = split_folders(path)
        if len(splits) > 1:
            raise UsageError(
                f"{name} in {folder} is no class, because it holds {' and '.join(splits)}; did you "
                f"mean {path}?"
            )
    classes = sorted(folders)
    if len(classes) < 2:
        content = f"only one class, {classes[0]}" if classes else "no class folders"
        raise UsageError(
            f"{folder} holds {content}; put the images of each of at least two classes "
            "into a folder of their own."
        )
    return classes
