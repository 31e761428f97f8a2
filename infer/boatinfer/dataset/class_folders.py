"""Lists the files and classes of a folder of labelled images.

The folder holds ``train/<class>/`` and ``valid/<class>/``, or only ``<class>/``, which is then
split here; a class folder's name is the name of the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple

from boatinfer.dataset.splits import SPLITS, TRAIN, VALID, stratify
from boatinfer.errors import UsageError
from boatinfer.storage.listing import FileFilter, scan
from boatinfer.text import from_text, to_text

__all__ = [
    "TRAIN",
    "VALID",
    "VALID_SHARE",
    "LabelledFiles",
    "class_folders",
    "find_classes",
    "find_images",
    "list_files",
    "require_every_class",
    "split_folders",
]

#: Default share of the validation split.
VALID_SHARE = 0.1

#: Names (case-insensitive) of folders that are splits, never classes.
_SPLIT_NAMES = {*SPLITS, "training", "val", "validation", "testing"}


class LabelledFiles(NamedTuple):
    """The image files of one split, class by class and sorted by name within each.

    Attributes:
        data: the folder that the names of files are relative to.
        folder: the folder of class folders: DATA/train, DATA/valid, or DATA itself.
        classes: class names, sorted; a label is an index into them.
        paths: paths of the files.
        labels: label of each file.
    """

    data: Path
    folder: Path
    classes: list[str]
    paths: list[Path]
    labels: list[int]

    @property
    def names(self) -> list[str]:
        """The paths relative to ``data``, as text."""
        return [to_text(path.relative_to(self.data).as_posix()) for path in self.paths]

    def select(self, mask: Sequence[bool]) -> LabelledFiles:
        """Selects files by a mask."""
        return self._replace(
            paths=list(compress(self.paths, mask)), labels=list(compress(self.labels, mask))
        )


def find_images(data: Path, valid: float = VALID_SHARE) -> tuple[LabelledFiles, LabelledFiles]:
    """Lists the images of train and valid.

    A folder that holds class folders, and neither train/ nor valid/, is split here; the split is
    deterministic.

    Args:
        data: the folder that holds ``train/`` and ``valid/``, or class folders.
        valid: the validation share of each class, if the split is made here.

    Raises:
        UsageError: a folder is missing, there are fewer than two classes, or a class has
            no images in one of the splits.
    """
    return _find_splits(data) if split_folders(data) else _split_here(data, valid)


def _find_splits(data: Path) -> tuple[LabelledFiles, LabelledFiles]:
    for split in (TRAIN, VALID):
        if not (data / split).is_dir():
            misnamed = [name for name in split_folders(data) if name not in SPLITS]
            raise UsageError(
                f"{data} holds no folder {split}/; "
                + (f"rename {' or '.join(misnamed)}, or " if misnamed else "")
                + f"give a folder that holds {TRAIN}/<class>/ and {VALID}/<class>/ with the "
                "images of each class, or one that holds the folders of the classes."
            )
    classes = find_classes(data / TRAIN)
    unknown = sorted(class_folders(data / VALID).keys() - set(classes))
    if unknown:
        raise UsageError(
            f"{data / VALID} has the class {', '.join(unknown)}, which {data / TRAIN} lacks; "
            "add its training images or remove the folder."
        )
    train, valid = (list_files(data, data / split, classes) for split in (TRAIN, VALID))
    for files in (train, valid):
        require_every_class(files.folder, classes, files.labels)
    return train, valid


def _split_here(data: Path, share: float) -> tuple[LabelledFiles, LabelledFiles]:
    classes = find_classes(data)
    files = list_files(data, data, classes)
    require_every_class(data, classes, files.labels)
    splits = stratify(data, files.names, files.labels, {VALID: share})
    train, valid = (files.select([s == split for s in splits]) for split in (TRAIN, VALID))
    too_few = [classes[label] for label in sorted(set(train.labels) - set(valid.labels))]
    if too_few:
        raise UsageError(
            f"{data} cannot be split: it has too few different images of the class "
            f"{', '.join(too_few)}; every class needs two, one for {TRAIN} and one for {VALID}."
        )
    return train, valid


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
            f"needs some in {TRAIN} and in {VALID}."
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
    return sorted(name for name in class_folders(data) if name.casefold() in _SPLIT_NAMES)


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
