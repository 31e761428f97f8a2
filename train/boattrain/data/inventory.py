"""Everything a data folder holds, each file read once: what `boattrain.data.check` judges."""

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

__all__ = ["Facts", "Inventory", "take_inventory"]

#: Read at this size an image shows whether it is sound and grey, and that quickly.
_SMALL = ImageSpec(height=32, width=32)

#: Images that are sent to the worker process before the bar moves.
_CHUNK = 64

#: Largest difference between the channels of a pixel of a grey picture; JPEG rounds.
_GREY = 4


class Facts(NamedTuple):
    """What there is to know about one image file.

    Attributes:
        name: path below DATA.
        split: train, valid or test.
        label: its class.
        digest: xxh3-128 of the content, hex; empty if it could not be read.
        failure: why there are no pixels; empty if there are.
        height: pixels, upright; 0 if there are none.
        width: likewise.
        grey: whether the picture has no colours.
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
    """What a data folder holds.

    Attributes:
        data: the folder.
        on_the_fly: whether it holds class folders alone, which training splits.
        splits: those that are there, in the order train, valid, test.
        unknown_splits: folders beside them whose names look like splits.
        classes: names of all classes of all splits, sorted.
        images: the image files.
        misnamed: images without an image's ending, which nothing else reads; names.
        stray: image files outside the class folders; names.
        others: all other files that are not hidden; names.
    """

    data: Path
    on_the_fly: bool
    splits: list[str]
    unknown_splits: list[str]
    classes: list[str]
    images: list[Facts]
    misnamed: list[str]
    stray: list[str]
    others: list[str]

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """For each split and class, the images that can be read."""
        counts = Counter((f.split, f.label) for f in self.images if not f.failure)
        return {
            split: {name: counts[split, name] for name in self.classes} for split in self.splits
        }


def take_inventory(data: Path, valid: float) -> Inventory:
    """Looks at every file of a data folder.

    Args:
        data: a folder with train/, valid/ and perhaps test/, or with class folders alone.
        valid: the share of each class that becomes valid in the latter.

    Raises:
        UsageError: there is no such folder, or no image in a class folder.
    """
    named = split_folders(data)
    if not named:
        find_classes(data)
    splits = [split for split in SPLITS if split in named] if named else [TRAIN, VALID]
    roots = [data / split for split in splits] if named else [data]
    classes = sorted({name for root in roots for name in class_folders(root)})
    listed = [list_files(data, root, classes) for root in roots]
    names = [name for files in listed for name in files.names]
    labels = [label for files in listed for label in files.labels]
    if not names:
        raise UsageError(
            f"{data} holds no images in class folders; give a folder that holds "
            f"{TRAIN}/<class>/ and {VALID}/<class>/, or <class>/ alone."
        )
    parts = [name.split("/", 1)[0] for name in names]
    if not named:
        parts = stratify(data, names, labels, {VALID: valid})
    misnamed, others = _unlisted(data, roots, set(names))
    return Inventory(
        data=data,
        on_the_fly=not named,
        splits=splits,
        unknown_splits=[name for name in named if name not in SPLITS],
        classes=classes,
        images=_read(
            data,
            [
                Facts(name, split, classes[label])
                for name, split, label in zip(names, parts, labels, strict=True)
            ],
        ),
        misnamed=misnamed,
        stray=[name for root in roots for name in _found(data, root, recursive=False)],
        others=others,
    )


def _unlisted(data: Path, roots: list[Path], listed: set[str]) -> tuple[list[str], list[str]]:
    """Finds the files in class folders that are not listed: images, and anything else."""
    misnamed, others = set(), set()
    for folder in (folder for root in roots for folder in class_folders(root).values()):
        misnamed |= set(_found(data, folder)) - listed
        for inside, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            others |= {_name(data, inside, file) for file in files if not file.startswith(".")}
    return sorted(misnamed), sorted(others - misnamed - listed)


def _found(data: Path, folder: Path, *, recursive: bool = True) -> list[str]:
    """Names the images in a folder, whatever their ending."""
    choice = FileFilter(recursive=recursive, sniff=True)
    return sorted(_name(data, folder, from_text(file.path)) for file in scan(folder, None, choice))


def _name(data: Path, folder: Path | str, file: str) -> str:
    return to_text(Path(folder, file).relative_to(data).as_posix())


def _read(data: Path, files: list[Facts]) -> list[Facts]:
    found: list[Facts] = []
    with (
        images.IsolatedReader(_look) as reader,
        progress_bar("reading", len(files), "files") as advance,
    ):
        for start in range(0, len(files), _CHUNK):
            some = files[start : start + _CHUNK]
            seen = reader.map([data / from_text(facts.name) for facts in some])
            found += [_facts(facts, one) for facts, one in zip(some, seen, strict=True)]
            advance(len(some))
    return found


def _facts(facts: Facts, seen: _Seen | ImageError) -> Facts:
    if isinstance(seen, ImageError):
        return facts._replace(failure=f"{seen.reason}: {seen}")
    return facts._replace(**seen._asdict())


class _Seen(NamedTuple):
    """What `Facts` says of a file that could be loaded."""

    digest: str
    failure: str = ""
    height: int = 0
    width: int = 0
    grey: bool = False


def _look(path: Path) -> _Seen:
    """Reads an image file; runs in the worker process."""
    content, _ = images.load(path)
    digest = xxhash.xxh3_128_hexdigest(content)
    try:
        pixels = images.read(content, _SMALL)
        height, width = images.size(content)
    except ImageError as error:
        return _Seen(digest, f"{error.reason}: {error}")
    return _Seen(digest, "", height, width, grey=int(np.ptp(pixels, axis=2).max()) <= _GREY)
