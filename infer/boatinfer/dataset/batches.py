"""Folders of class folders, read for a model whose classes are known."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from boatinfer import images
from boatinfer.dataset.class_folders import Files, class_folders, list_files
from boatinfer.errors import ImageError, UsageError
from boatinfer.images import Pixels
from boatinfer.images.spec import ImageSpec

__all__ = ["find", "read", "spread_out"]


def find(folder: Path, classes: list[str], option: str) -> Files:
    """Lists the images of a folder of class folders; not every class needs one.

    Args:
        folder: where the class folders lie.
        classes: what the model knows.
        option: names the folder in error messages.

    Raises:
        UsageError: there is no such folder, it holds a class that the model does not know,
            or no images.
    """
    unknown = sorted(class_folders(folder).keys() - set(classes))
    if unknown:
        raise UsageError(
            f"{option} {folder} holds the folder {unknown[0]}, and the model knows no such class; "
            "give a folder that holds the folders of the model's classes alone."
        )
    files = list_files(folder, folder, classes)
    if not files.paths:
        raise UsageError(
            f"{option} {folder} holds no images in folders of the model's classes, such as "
            f"{folder / classes[0]}; check the name."
        )
    return files


def spread_out(files: Files, count: int) -> Files:
    """Takes some of the files, from all classes in turn, always the same ones."""
    of_class: dict[int, list[int]] = {}
    for row, label in enumerate(files.labels):
        of_class.setdefault(label, []).append(row)
    for rows in of_class.values():
        random.Random(0).shuffle(rows)
    turns = chain.from_iterable(zip_longest(*of_class.values()))
    rows = [row for row in turns if row is not None][:count]
    return files._replace(
        paths=[files.paths[row] for row in rows], labels=[files.labels[row] for row in rows]
    )


def read(
    files: Files, spec: ImageSpec, size: int, left_out: Callable[[str], None]
) -> Iterator[tuple[Pixels, npt.NDArray[np.int64]]]:
    """Reads images through the one reader, in batches.

    Args:
        files: what to read.
        spec: size and geometry of the network's input.
        size: of a batch.
        left_out: is told which image cannot be read, and why.

    Yields:
        Pixels, uint8 [N, H, W, 3], and labels, int64 [N], of the readable images among
        ``size`` files, where there are any.
    """
    with images.IsolatedReader(images.PixelReader(spec)) as reader:
        for start in range(0, len(files.paths), size):
            paths = files.paths[start : start + size]
            read = reader.map(paths)
            for path, one in zip(paths, read, strict=True):
                if isinstance(one, ImageError):
                    left_out(f"{path}: {one}")
            pixels = [one for one in read if not isinstance(one, ImageError)]
            if pixels:
                labels = np.array(files.labels[start : start + size], np.int64)
                yield np.stack(pixels), labels[[not isinstance(one, ImageError) for one in read]]
