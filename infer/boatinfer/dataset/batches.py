"""Reads labelled images from class folders, in batches, for a model with known classes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from boatinfer import images
from boatinfer.dataset.class_folders import LabelledFiles, class_folders, list_files
from boatinfer.dataset.label_tables import read_label_table
from boatinfer.errors import ImageError, UsageError
from boatinfer.images import Pixels
from boatinfer.images.spec import ImageSpec
from boatinfer.text import from_text

__all__ = ["list_class_files", "read_batches", "sample_evenly"]


def list_class_files(folder: Path, classes: list[str], option: str) -> LabelledFiles:
    """Lists the images of a folder of class folders; not every class needs one.

    Args:
        folder: the folder of class folders, or a table of labels, whose paths are relative to its
            own folder.
        classes: the model's classes.
        option: names the folder in error messages.

    Raises:
        UsageError: there is no such folder, it holds a class that the model does not have,
            or no images.
    """
    if folder.is_file():
        return _list_table(folder, classes, option)
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


def _list_table(file: Path, classes: list[str], option: str) -> LabelledFiles:
    table = read_label_table(file)
    unknown = sorted(set(table.labels) - set(classes))
    if unknown:
        raise UsageError(
            f"{option} {file} has the label {unknown[0]}, and the model knows no such class; give "
            "a table of the model's classes alone."
        )
    paths = [file.parent / from_text(path) for path in table.paths]
    labels = [classes.index(label) for label in table.labels]
    return LabelledFiles(file.parent, file, classes, paths, labels)


def sample_evenly(files: LabelledFiles, count: int) -> LabelledFiles:
    """Takes ``count`` files, from all classes in turn; deterministic."""
    rows_by_class: dict[int, list[int]] = {}
    for row, label in enumerate(files.labels):
        rows_by_class.setdefault(label, []).append(row)
    for rows in rows_by_class.values():
        random.Random(0).shuffle(rows)
    turns = chain.from_iterable(zip_longest(*rows_by_class.values()))
    rows = [row for row in turns if row is not None][:count]
    return files._replace(
        paths=[files.paths[row] for row in rows], labels=[files.labels[row] for row in rows]
    )


def read_batches(
    files: LabelledFiles, spec: ImageSpec, size: int, left_out: Callable[[str], None]
) -> Iterator[tuple[Pixels, npt.NDArray[np.int64]]]:
    """Reads images in batches, with the project's image reader.

    Args:
        files: the files to read.
        spec: size and geometry of the network's input.
        size: batch size.
        left_out: called with the path and error of each image that cannot be read.

    Yields:
        Pixels, uint8 [N, H, W, 3], and labels, int64 [N], of the readable images among
        ``size`` files; nothing if none is readable.
    """
    with images.IsolatedReader(images.PixelReader(spec)) as reader:
        for start in range(0, len(files.paths), size):
            paths = files.paths[start : start + size]
            results = reader.map(paths)
            for path, result in zip(paths, results, strict=True):
                if isinstance(result, ImageError):
                    left_out(f"{path}: {result}")
            pixels = [result for result in results if not isinstance(result, ImageError)]
            if pixels:
                labels = np.array(files.labels[start : start + size], np.int64)
                is_readable = [not isinstance(result, ImageError) for result in results]
                yield np.stack(pixels), labels[is_readable]
