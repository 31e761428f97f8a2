"""A folder of labelled images: which files, and of which class.

The folder holds ``train/<class>/`` and ``valid/<class>/``, or only ``<class>/`` and is then
split here; a folder's name is the name of its class.
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
    "Files",
    "class_folders",
    "find_classes",
    "find_images",
    "list_files",
    "require_every_class",
    "split_folders",
]

#: The share of valid in data that is split here.
VALID_SHARE = 0.1

#: Names, in any case, of folders that are taken for splits and never for classes.
_SPLIT_NAMES = {*SPLITS, "training", "val", "validation", "testing"}


class Files(NamedTuple):
    """The image files of one split, class by class and sorted by name within each.

    Attributes:
        data: the folder that the names of files are relative to.
        folder: where the class folders lie: DATA/train, DATA/valid, or DATA itself.
        classes: class names, sorted; a label is an index into them.
        paths: where the files are.
        labels: one a file.
    """

    data: Path
    folder: Path
    classes: list[str]
    paths: list[Path]
    labels: list[int]

    @property
    def names(self) -> list[str]:
        """Texts of the paths relative to ``data``."""
        return [to_text(path.relative_to(self.data).as_posix()) for path in self.paths]

    def where(self, chosen: Sequence[bool]) -> Files:
        """Narrows down to the files that are chosen."""
        return self._replace(
            paths=list(compress(self.paths, chosen)), labels=list(compress(self.labels, chosen))
        )


def find_images(data: Path, valid: float = VALID_SHARE) -> tuple[Files, Files]:
    """Lists the images of train and valid.

    A folder that holds class folders, and neither train/ nor valid/, is split here: the
    same images always in the same way.

    Args:
        data: the folder that holds ``train/`` and ``valid/``, or class folders.
        valid: the share of each class that becomes valid where they are split here.

    Raises:
        UsageError: a folder is missing, there are fewer than two classes, or a class has
            no images in one of the splits.
    """
    return _find_splits(data) if split_folders(data) else _split_here(data, valid)


def _find_splits(data: Path) -> tuple[Files, Files]:
    for split in (TRAIN, VALID):
        if not (data / split).is_dir():
            others = [name for name in split_folders(data) if name not in SPLITS]
            raise UsageError(
                f"{data} holds no folder {split}/; "
                + (f"rename {' or '.join(others)}, or " if others else "")
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


def _split_here(data: Path, share: float) -> tuple[Files, Files]:
    classes = find_classes(data)
    files = list_files(data, data, classes)
    require_every_class(data, classes, files.labels)
    splits = stratify(data, files.names, files.labels, {VALID: share})
    train, valid = (files.where([s == split for s in splits]) for split in (TRAIN, VALID))
    single = [classes[label] for label in sorted(set(train.labels) - set(valid.labels))]
    if single:
        raise UsageError(
            f"{data} cannot be split: it has too few different images of the class "
            f"{', '.join(single)}; every class needs two, one for {TRAIN} and one for {VALID}."
        )
    return train, valid


def require_every_class(
    folder: Path, classes: Sequence[str], labels: Iterable[int], which: str = ""
) -> None:
    """Refuses a split in which a class has no images.

    Args:
        folder: the split's folder.
        classes: class names.
        labels: the labels that occur.
        which: narrows down the images that are meant, such as ``"readable "``.

    Raises:
        UsageError: names the classes without images.
    """
    without = [classes[label] for label in sorted(set(range(len(classes))).difference(labels))]
    if without:
        classes_are = "class" if len(without) == 1 else "classes"
        raise UsageError(
            f"{folder} has no {which}images of the {classes_are} {', '.join(without)}; every class "
            f"needs some in {TRAIN} and in {VALID}."
        )


def class_folders(folder: Path) -> dict[str, Path]:
    """Finds the sub-folders, by their names; hidden ones do not count.

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
    """Names the sub-folders that are taken for splits and never for classes, sorted."""
    return sorted(name for name in class_folders(data) if name.casefold() in _SPLIT_NAMES)


def list_files(data: Path, folder: Path, classes: list[str]) -> Files:
    """Lists the image files of some classes.

    Args:
        data: what their names shall be relative to.
        folder: where the class folders lie.
        classes: names of the classes; one without a folder has no files.
    """
    folders = class_folders(folder)
    found = [
        (folders[name] / from_text(file.path), label)
        for label, name in enumerate(classes)
        if name in folders
        for file in sorted(scan(folders[name], file_filter=FileFilter(sniff=False)))
    ]
    return Files(data, folder, classes, [path for path, _ in found], [label for _, label in found])


def find_classes(folder: Path) -> list[str]:
    """Finds the names of the classes in a folder of class folders, sorted.

    Raises:
        UsageError: there is no such folder, it holds fewer than two, or one of them is a
            data folder itself.
    """
    folders = class_folders(folder)
    for name, path in sorted(folders.items()):
        inside = split_folders(path)
        if len(inside) > 1:
            raise UsageError(
                f"{name} in {folder} is no class, because it holds {' and '.join(inside)}; did you "
                f"mean {path}?"
            )
    classes = sorted(folders)
    if len(classes) < 2:
        held = f"only one class, {classes[0]}" if classes else "no class folders"
        raise UsageError(
            f"{folder} holds {held}; put the images of each of at least two classes "
            "into a folder of their own."
        )
    return classes
