"""A folder of labelled images to arrays.

The folder holds ``train/<class>/`` and ``valid/<class>/``; a folder's name is the name of
its class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from boatinfer import images
from boatinfer.card import ImageSpec
from boatinfer.errors import Failure, ImageError, UsageError
from boatinfer.scan import from_text, scan, to_text

__all__ = [
    "TRAIN",
    "VALID",
    "Files",
    "Split",
    "find_images",
    "fingerprint",
    "load_images",
    "require_every_class",
]

TRAIN = "train"
VALID = "valid"


class Files(NamedTuple):
    """The image files of one split, class by class and sorted by name within each.

    Attributes:
        folder: the split's folder, DATA/train or DATA/valid.
        classes: class names, sorted; a label is an index into them.
        paths: where the files are.
        labels: one a file.
    """

    folder: Path
    classes: list[str]
    paths: list[Path]
    labels: list[int]


@dataclass(frozen=True)
class Split:
    """The images of one split that could be read, in the order of their `Files`.

    Attributes:
        pixels: uint8 [N, H, W, 3], RGB, as the network takes them.
        labels: int64 [N].
        paths: where they came from.
        digests: name of the file below DATA to the xxh3-128 of its content.
        left_out: name of a file below DATA that could not be read to the reason.
    """

    pixels: images.Pixels
    labels: npt.NDArray[np.int64]
    paths: list[Path]
    digests: dict[str, bytes]
    left_out: dict[str, str]


def find_images(data: Path) -> tuple[Files, Files]:
    """Lists the images of train and valid.

    Args:
        data: the folder that holds ``train/`` and ``valid/``.

    Raises:
        UsageError: a folder is missing, there are fewer than two classes, or a class has
            no images in one of the splits.
    """
    if not data.exists():
        raise UsageError(f"the folder {data} does not exist; check the name.")
    if not data.is_dir():
        raise UsageError(f"{data} is not a folder; give the one that holds {TRAIN}/ and {VALID}/.")
    for split in (TRAIN, VALID):
        if not (data / split).is_dir():
            raise UsageError(
                f"{data} holds no folder {split}/; give a folder that holds "
                f"{TRAIN}/<class>/ and {VALID}/<class>/ with the images of each class."
            )
    classes = sorted(_class_folders(data / TRAIN))
    if len(classes) < 2:
        held = f"only one class, {classes[0]}" if classes else "no class folders"
        raise UsageError(
            f"{data / TRAIN} holds {held}; put the images of each of at least two classes "
            "into a folder of their own."
        )
    unknown = sorted(_class_folders(data / VALID).keys() - set(classes))
    if unknown:
        raise UsageError(
            f"{data / VALID} has the class {', '.join(unknown)}, which {data / TRAIN} lacks; "
            "add its training images or remove the folder."
        )
    return _list_files(data / TRAIN, classes), _list_files(data / VALID, classes)


def load_images(files: Files, spec: ImageSpec) -> Split:
    """Reads every image of a split once; one that cannot be read is left out and listed.

    Args:
        files: what to read.
        spec: size and geometry of the network's input.
    """
    pixels = np.empty((len(files.paths), spec.height, spec.width, 3), np.uint8)

    def load(row: int) -> bytes | str:
        """Returns the content's digest, or why there are no pixels."""
        try:
            content = files.paths[row].read_bytes()
            pixels[row] = images.read(content, spec)
        except OSError as error:
            return f"{Failure.UNREADABLE}: {error.strerror}"
        except ImageError as error:
            return f"{error.reason}: {error}"
        return xxhash.xxh3_128_digest(content)

    with ThreadPoolExecutor() as threads:  # decoding happens outside Python's lock
        outcomes = list(threads.map(load, range(len(files.paths))))
    names = [to_text(path.relative_to(files.folder.parent).as_posix()) for path in files.paths]
    named = dict(zip(names, outcomes, strict=True))
    rows = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, bytes)]
    return Split(
        pixels=pixels if len(rows) == len(pixels) else pixels[rows],
        labels=np.array(files.labels, np.int64)[rows],
        paths=[files.paths[row] for row in rows],
        digests={name: digest for name, digest in named.items() if isinstance(digest, bytes)},
        left_out={name: reason for name, reason in named.items() if isinstance(reason, str)},
    )


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
        raise UsageError(
            f"{folder} has no {which}images of the class {', '.join(without)}; every class "
            f"needs some in {TRAIN}/ and in {VALID}/."
        )


def fingerprint(*splits: Split) -> str:
    """Identifies data by the names and contents of its images.

    Returns:
        xxh3-128 over the sorted names and the digests of the contents, hex.
    """
    whole = xxhash.xxh3_128()
    for name, digest in sorted(item for split in splits for item in split.digests.items()):
        whole.update(name.encode() + b"\0" + digest)
    return whole.hexdigest()


def _class_folders(folder: Path) -> dict[str, Path]:
    return {
        to_text(entry.name): entry
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    }


def _list_files(folder: Path, classes: list[str]) -> Files:
    folders = _class_folders(folder)
    found = [
        (folders[name] / from_text(file.path), label)
        for label, name in enumerate(classes)
        if name in folders
        for file in sorted(scan(folders[name]))
    ]
    labels = [label for _, label in found]
    require_every_class(folder, classes, labels)
    return Files(folder, classes, [path for path, _ in found], labels)
