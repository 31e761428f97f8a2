"""Lists and reads all files of a data folder, for `boattrain.data.check`."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from boatinfer import images
from boatinfer.dataset.class_folders import class_folders, find_classes, list_files, split_folders
from boatinfer.dataset.splits import SPLITS, TRAIN, VALID, stratify
from boatinfer.errors import ImageError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.progress import progress_bar
from boatinfer.storage.listing import FileFilter, scan
from boatinfer.text import from_text, to_text

__all__ = ["ImageInfo", "Inventory", "take_inventory"]

#: Small size at which images are decoded, to see whether they are valid and grey.
_CHECK_SPEC = ImageSpec(height=32, width=32)

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
        unknown_splits: other folders whose names look like splits.
        classes: class names of all splits, sorted.
        images: the image files in class folders.
        misnamed: names of images without the suffix of an image, which training ignores.
        stray: names of image files outside the class folders.
        other_files: names of all other files that are not hidden.
    """

    data: Path
    on_the_fly: bool
    splits: list[str]
    unknown_splits: list[str]
    classes: list[str]
    images: list[ImageInfo]
    misnamed: list[str]
    stray: list[str]
    other_files: list[str]

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Number of readable images by split and class."""
        counts = Counter((f.split, f.label) for f in self.images if not f.failure)
        return {
            split: {name: counts[split, name] for name in self.classes} for split in self.splits
        }


def take_inventory(data: Path, valid: float) -> Inventory:
    """Lists and reads every file of a data folder.

    Args:
        data: a folder with train/, valid/ and optionally test/, or with class folders only.
        valid: share of each class held out for validation in the latter case.

    Raises:
        UsageError: the folder does not exist, or there is no image in a class folder.
    """
    split_names = split_folders(data)
    if not split_names:
        find_classes(data)
    splits = [split for split in SPLITS if split in split_names] if split_names else [TRAIN, VALID]
    roots = [data / split for split in splits] if split_names else [data]
    classes = sorted({name for root in roots for name in class_folders(root)})
    files_by_root = [list_files(data, root, classes) for root in roots]
    names = [name for files in files_by_root for name in files.names]
    labels = [label for files in files_by_root for label in files.labels]
    if not names:
        raise UsageError(
            f"{data} holds no images in class folders; give a folder that holds "
            f"{TRAIN}/<class>/ and {VALID}/<class>/, or <class>/ only."
        )
    splits_of_images = [name.split("/", 1)[0] for name in names]
    if not split_names:
        splits_of_images = stratify(data, names, labels, {VALID: valid})
    misnamed, other_files = _find_unlisted(data, roots, set(names))
    return Inventory(
        data=data,
        on_the_fly=not split_names,
        splits=splits,
        unknown_splits=[name for name in split_names if name not in SPLITS],
        classes=classes,
        images=_read_images(
            data,
            [
                ImageInfo(name, split, classes[label])
                for name, split, label in zip(names, splits_of_images, labels, strict=True)
            ],
        ),
        misnamed=misnamed,
        stray=[name for root in roots for name in _scan_names(data, root, recursive=False)],
        other_files=other_files,
    )


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


def _read_images(data: Path, files: list[ImageInfo]) -> list[ImageInfo]:
    infos: list[ImageInfo] = []
    with (
        images.IsolatedReader(_read_image) as reader,
        progress_bar("reading", len(files), "files") as advance,
    ):
        for start in range(0, len(files), _CHUNK):
            chunk = files[start : start + _CHUNK]
            contents = reader.map([data / from_text(info.name) for info in chunk])
            infos += [_add_content(*pair) for pair in zip(chunk, contents, strict=True)]
            advance(len(chunk))
    return infos


def _add_content(info: ImageInfo, content: _Content | ImageError) -> ImageInfo:
    if isinstance(content, ImageError):
        return info._replace(failure=f"{content.reason}: {content}")
    return info._replace(**content._asdict())


class _Content(NamedTuple):
    """The fields of `ImageInfo` that come from the content of the file."""

    digest: str
    failure: str = ""
    height: int = 0
    width: int = 0
    grey: bool = False


def _read_image(path: Path) -> _Content:
    """Reads and decodes an image file; runs in the worker process."""
    content, _ = images.load(path)
    digest = xxhash.xxh3_128_hexdigest(content)
    try:
        pixels = images.read(content, _CHECK_SPEC)
        height, width = images.size(content)
    except ImageError as error:
        return _Content(digest, f"{error.reason}: {error}")
    return _Content(
        digest, "", height, width, grey=int(np.ptp(pixels, axis=2).max()) <= _GREY_TOLERANCE
    )
