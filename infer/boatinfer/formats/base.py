"""What all formats share: the interface, and the rows that they write."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from boatinfer.errors import OutputError, UsageError
from boatinfer.formats.options import ExportOptions
from boatinfer.results.reader import ResultsReader
from boatinfer.results.store.rows import OK
from boatinfer.results.tables.predictions import ORDINALS
from boatinfer.storage.files import atomic_folder, atomic_write, require_folder
from boatinfer.storage.locations import is_remote, place
from boatinfer.text import counted, from_text

__all__ = [
    "Format",
    "Image",
    "Written",
    "file_of",
    "images",
    "images_folder",
    "left_out",
    "new_file",
    "new_folder",
]

#: Columns that no format takes: vectors; and those that `Image` has as attributes, or are of all.
_VECTORS = ("probabilities", "features")
_KNOWN = {"path", "label", "guess", "status", "error", "model", *_VECTORS}


class Written(NamedTuple):
    """What a format has written.

    Attributes:
        images: number of images.
        remarks: sentences on what else a person should know.
    """

    images: int
    remarks: list[str]


class Format(Protocol):
    """A format: a class without arguments.

    Attributes:
        options: names of the `ExportOptions.special` that it has.
    """

    options: Collection[str]

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """Writes the results; the output is there whole or not at all.

        Raises:
            UsageError: the output exists, or an option does not fit.
            OutputError: the results are damaged, or the output could not be written.
        """
        ...


class Image(NamedTuple):
    """One image of the results.

    Attributes:
        path: text of the path relative to the scanned folder.
        label: the class, ``unsure`` below the abstention threshold, or ``unknown`` above the limit
            of novelty; None for a failure.
        ranked: the most probable classes of the network and their confidences, descending; empty
            for a failure.
        failure: the reason of a failure; None if it was classified.
        error: the message of a failure, or the decoder's warning.
        more: all other columns that the row has a value in, by name: ``run``, ``new``,
            ``svm_label`` and what later versions add; and ``boatinfer_label``, the label where it
            is not the most probable class.
    """

    path: str
    label: str | None
    ranked: list[tuple[str, float]]
    failure: str | None
    error: str | None
    more: dict[str, Any]


def images(results: ResultsReader) -> Iterator[Image]:
    """All images of the results, in batches, sorted by path.

    Raises:
        OutputError: the results are damaged.
    """
    names = [name for name in results.columns if name not in _VECTORS]
    ranks = [rank for rank in ORDINALS if f"{rank}label" in names]
    taken = _KNOWN | {f"{rank}{of}" for rank in ranks for of in ("label", "confidence")}
    others = [name for name in names if name not in taken]
    for batch in results.batches(names):
        column = {name: batch[name].to_pylist() for name in names}
        first = column.get("guess", column["label"])
        labels = [first, *(column[f"{rank}label"] for rank in ranks[1:])]
        confidences = [column[f"{rank}confidence"] for rank in ranks]
        for row, path in enumerate(column["path"]):
            status = column["status"][row]
            ranked = [
                (label[row], confidence[row])
                for label, confidence in zip(labels, confidences, strict=True)
                if label[row] is not None
            ]
            more = {name: value for name in others if (value := column[name][row]) is not None}
            image_label = column["label"][row]
            if ranked and image_label != ranked[0][0]:
                more["boatinfer_label"] = image_label
            failure = None if status == OK else status
            yield Image(path, image_label, ranked, failure, column["error"][row], more)


def images_folder(results: ResultsReader) -> Path:
    """The folder of the images.

    Raises:
        UsageError: it is not on this machine.
    """
    folder = place(from_text(results.summary.folder))
    if is_remote(folder) or not folder.is_dir():
        raise UsageError(
            f"the images are not in {results.summary.folder}, and this format needs them; if they "
            "have moved, say where to with 'boatinfer results OUT --moved DIR'."
        )
    return Path(os.fspath(folder))  # type: ignore[call-overload]


def left_out(count: int, why: str) -> list[str]:
    """Remarks on images that are left out; none for none."""
    return [f"Left out: {counted(count, 'image')} {why}."] if count else []


def file_of(folder: Path, path: str) -> Path:
    """The file of an image, by the text of its path."""
    return folder / from_text(path)


@contextlib.contextmanager
def new_file(options: ExportOptions) -> Iterator[Path]:
    """Yields a temporary file that becomes the output at the end.

    Raises:
        UsageError: the output exists, or cannot be written.
        OutputError: it could not be written.
    """
    output = options.target
    require_folder(output)
    if output.exists() and not options.overwrite:
        raise _exists(output)
    with atomic_write(output) as temporary:
        yield temporary


@contextlib.contextmanager
def new_folder(options: ExportOptions, names: Collection[str]) -> Iterator[Path]:
    """Yields a temporary folder that becomes the output at the end.

    Args:
        options: where to.
        names: the names in the folder; one that has others is never replaced.

    Raises:
        UsageError: the output exists, or holds other files.
        OutputError: it could not be written.
    """
    output = options.target
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; this format needs a folder: give another name.")
    there = {entry.name for entry in output.iterdir()} if output.exists() else set()
    if there and not options.overwrite:
        raise _exists(output)
    if not there <= set(names):
        raise UsageError(f"{output} holds other files; give a new folder with -o.")
    with atomic_folder(output) as temporary:
        yield temporary
        if there:
            _remove(output)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{folder} could not be replaced: {error.strerror}.") from error


def _exists(output: Path) -> UsageError:
    return UsageError(f"{output} exists already; give another name, or --overwrite to replace it.")
