"""Lists and reads all files of a data folder, for `boattrain.data.check`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from boatinfer import images
from boatinfer.dataset.class_folders import (
    LabelledFiles,
    class_folders,
    list_files,
    split_paths,
)
from boatinfer.dataset.groups import day_of
from boatinfer.dataset.labelled_images import Collection, assign_splits, read_collection
from boatinfer.dataset.near_duplicates import THUMBNAIL_SPEC, thumbnail
from boatinfer.dataset.splits import SPLITS, TRAIN, VALID
from boatinfer.errors import ImageError, UsageError
from boatinfer.progress import progress_bar
from boatinfer.storage.listing import FileFilter, scan
from boatinfer.text import from_text, to_text

__all__ = ["ImageInfo", "Inventory", "take_inventory"]

#: Images per request to the worker process, and per step of the progress bar.
_CHUNK = 64

#: Largest difference between the channels of a pixel of a grey image, because of JPEG.
_GREY_TOLERANCE = 4


class ImageInfo(NamedTuple):
    """What is known of an image file.

    Attributes:
        name: path below DATA.
        split: train, valid or test.
        label: class name.
        digest: xxh3-128 of the content, in hex; empty if it cannot be read.
        failure: why the image cannot be decoded; empty if it can.
        height: height in pixels, after EXIF orientation; 0 if unknown.
        width: width likewise.
        grey: whether the image is grey.
    """

    name: str
    split: str
    label: str
    digest: str = ""
    failure: str = ""
    height: int = 0
    width: int = 0
    grey: bool = False


@dataclass(frozen=True)
class Inventory:
    """The content of a data folder.

    Attributes:
        data: the data folder.
        on_the_fly: whether it has class folders only, which training splits.
        splits: existing splits, in the order train, valid, test.
        classes: class names of all splits, sorted.
        images: the image files in class folders.
        misnamed: names of images without the suffix of an image, which training ignores.
        stray: names of image files outside the class folders.
        other_files: names of all other files that are not hidden.
        vectors: float32 [N, D], see `boatinfer.dataset.near_duplicates.thumbnail`; zero for an
            image that cannot be read.
        groups: group of each image, by default its day; None if that is not known of all.
    """

    data: Path
    on_the_fly: bool
    splits: list[str]
    classes: list[str]
    images: list[ImageInfo]
    misnamed: list[str]
    stray: list[str]
    other_files: list[str]
    vectors: npt.NDArray[np.float32]
    groups: list[str] | None

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Number of readable images by split and class."""
        counts = Counter((f.split, f.label) for f in self.images if not f.failure)
        return {
            split: {name: counts[split, name] for name in self.classes} for split in self.splits
        }


def take_inventory(
    data: Path, valid: float, *, table: Path | None = None, group_by: str | None = None
) -> Inventory:
    """Lists and reads every file of a data folder, or all images of a table.

    Args:
        data: a folder with train/, valid/ and optionally test/, or with class folders only.
        valid: share of each class held out for validation in the latter case.
        table: a table of labels, whose paths are relative to ``data``.
        group_by: what keeps images together; see `boatinfer.dataset.groups.group_names`.

    Raises:
        UsageError: the folder does not exist, or there is no image in a class folder.
    """
    folders = {} if table else split_paths(data)
    collection = _all_splits(data, folders) if folders else read_collection(data, table)
    files, splits = collection.files, collection.splits
    if not files.paths:
        raise UsageError(
            f"{data} holds no images in class folders; give a folder that holds "
            f"{TRAIN}/<class>/ and {VALID}/<class>/, or <class>/ only."
        )
    roots = [] if table else [*folders.values()] or [data]
    by = collection.default_group(group_by)
    on_the_fly = splits is None
    if splits is None:
        splits = assign_splits(collection, {VALID: valid}, by)
    names = files.names
    misnamed, other_files = _find_unlisted(data, roots, set(names))
    infos = [ImageInfo(*of) for of in zip(names, splits, files.class_names, strict=True)]
    images, vectors = _read_images(files, infos)
    return Inventory(
        data=data,
        on_the_fly=on_the_fly,
        splits=[split for split in SPLITS if split in {*splits, *folders}],
        classes=files.classes,
        images=images,
        misnamed=misnamed,
        stray=[name for root in roots for name in _scan_names(data, root, recursive=False)],
        other_files=other_files,
        vectors=vectors,
        groups=_groups(collection, by),
    )


def _all_splits(data: Path, folders: Mapping[str, Path]) -> Collection:
    """Lists the images of all split folders, also where a training would refuse them."""
    classes = sorted({name for folder in folders.values() for name in class_folders(folder)})
    parts = {s: list_files(data, folders[s], classes) for s in SPLITS if s in folders}
    paths = [path for part in parts.values() for path in part.paths]
    labels = [label for part in parts.values() for label in part.labels]
    splits = [split for split, part in parts.items() for _ in part.paths]
    return Collection(LabelledFiles(data, data, classes, paths, labels), splits, {}, {})


def _groups(collection: Collection, by: str | None) -> list[str] | None:
    if by is not None:
        return collection.groups(by)
    days = [day_of(name) for name in collection.files.names]
    return [day for day in days if day] if all(days) else None


def _find_unlisted(data: Path, roots: list[Path], listed: set[str]) -> tuple[list[str], list[str]]:
    """Finds unlisted files in class folders: images by content, and other files."""
    misnamed, other_files = set(), set()
    for folder in (folder for root in roots for folder in class_folders(root).values()):
        misnamed |= set(_scan_names(data, folder)) - listed
        for subfolder, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            other_files |= {
                _relative_name(data, subfolder, file) for file in files if not file.startswith(".")
            }
    return sorted(misnamed), sorted(other_files - misnamed - listed)


def _scan_names(data: Path, folder: Path, *, recursive: bool = True) -> list[str]:
    """Returns the names of all images in a folder, whatever their suffix."""
    choice = FileFilter(recursive=recursive, sniff=True)
    return sorted(
        _relative_name(data, folder, from_text(file.path)) for file in scan(folder, None, choice)
    )


def _relative_name(data: Path, folder: Path | str, file: str) -> str:
    return to_text(Path(folder, file).relative_to(data).as_posix())


def _read_images(
    files: LabelledFiles, infos: list[ImageInfo]
) -> tuple[list[ImageInfo], npt.NDArray[np.float32]]:
    vectors = np.zeros((len(infos), 0), np.float32)
    read: list[ImageInfo] = []
    with (
        images.IsolatedReader(_read_image) as reader,
        progress_bar("reading", len(infos), "files") as advance,
    ):
        for start in range(0, len(infos), _CHUNK):
            chunk = infos[start : start + _CHUNK]
            contents = reader.map(files.paths[start : start + _CHUNK])
            for row, (info, content) in enumerate(zip(chunk, contents, strict=True), start):
                if isinstance(content, ImageError):
                    read.append(info._replace(failure=f"{content.reason}: {content}"))
                    continue
                known, vector = content
                read.append(info._replace(**known._asdict()))
                if vector is not None:
                    if not vectors.shape[1]:
                        vectors = np.zeros((len(infos), len(vector)), np.float32)
                    vectors[row] = vector
            advance(len(chunk))
    return read, vectors


class _Content(NamedTuple):
    """The fields of `ImageInfo` that come from the content of the file."""

    digest: str
    failure: str = ""
    height: int = 0
    width: int = 0
    grey: bool = False


def _read_image(path: Path) -> tuple[_Content, npt.NDArray[np.float32] | None]:
    """Reads and decodes an image file; runs in the worker process."""
    content, _ = images.load(path)
    digest = xxhash.xxh3_128_hexdigest(content)
    try:
        pixels = images.read(content, THUMBNAIL_SPEC)
        height, width = images.size(content)
    except ImageError as error:
        return _Content(digest, f"{error.reason}: {error}"), None
    is_grey = int(np.ptp(pixels, axis=2).max()) <= _GREY_TOLERANCE
    return _Content(digest, "", height, width, grey=is_grey), thumbnail(pixels)
