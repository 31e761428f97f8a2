"""A batch of labelled images as one picture, as the network would get them."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from boatinfer import images
from boatinfer.card import ImageSpec
from boatinfer.errors import ImageError, UsageError
from boatinfer.files import replacing, require_folder
from boattrain.augment import Augmentation, augment
from boattrain.data import Files, class_folders, find_images, list_files, split_folders
from boattrain.data_options import ShowOptions
from boattrain.splits import TEST, TRAIN, parse_share

__all__ = ["MODERATE", "Batch", "show"]

#: What ``--augment`` alone stands for.
MODERATE = Augmentation(flip=True, shift=0.1, zoom=0.1, rotate=5.0, brightness=0.1, contrast=0.2)

#: How long the longer side of an image is drawn, inches of 100 pixels.
_SHORTEST, _LONGEST = 2.0, 8.0
#: Room between images, and for a title; inches.
_GAP, _TITLE = 0.1, 0.3


@dataclass(frozen=True)
class Batch:
    """The images of a picture, row by row.

    Attributes:
        pixels: uint8 [N, H, W, 3], RGB.
        labels: their classes.
        names: their files, below DATA.
    """

    pixels: images.Pixels
    labels: list[str]
    names: list[str]


def show(options: ShowOptions) -> Batch:
    """Draws images of a split, taken at random, with their classes above them.

    An image that cannot be read is named on standard error, and another one taken.

    Args:
        options: which images, how many, how changed, and where to.

    Returns:
        What was drawn.

    Raises:
        UsageError: the data or an option cannot be used.
        OutputError: the picture could not be written.
    """
    spec = _spec(options.size)
    _require_place(options.output, options.data)
    files = _files(options)
    batch = _take(files, spec, options.rows * options.columns, options.seed)
    if options.augment or options:
        amounts: Augmentation = options or MODERATE
        changed = augment(batch.pixels, amounts, np.random.default_rng(options.seed))
        batch = Batch(changed, batch.labels, batch.names)
    _draw(batch, options.columns, options.output)
    return batch


def _spec(size: str) -> ImageSpec:
    numbers = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", size)
    if not numbers:
        raise UsageError(f"--size {size} is not HEIGHTxWIDTH in pixels; write it like 120x400.")
    return ImageSpec(height=int(numbers[1]), width=int(numbers[2]))


def _require_place(output: Path, data: Path) -> None:
    if output.suffix.lower() != ".png":
        raise UsageError(f"the picture {output} must end in .png; give it that ending.")
    if output.is_dir():
        raise UsageError(f"{output} is a folder; give the picture another name.")
    require_folder(output)
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(data)):
        raise UsageError(f"{output} lies inside {data}; choose a place outside of it.")


def _files(options: ShowOptions) -> Files:
    data, split = options.data, options.split
    if split_folders(data):
        folder = data / split
        files = list_files(data, folder, sorted(class_folders(folder)))
    elif split == TEST:
        raise UsageError(f"{data} holds no folder {TEST}/; take another split.")
    else:
        train, valid = find_images(data, parse_share(options.valid, "--valid"))
        files = train if split == TRAIN else valid
    if not files.paths:
        raise UsageError(f"{files.folder} holds no images in class folders; check the name.")
    return files


def _take(files: Files, spec: ImageSpec, count: int, seed: int) -> Batch:
    pixels: list[images.Pixels] = []
    rows: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(files.paths)).tolist():
        try:
            pixels.append(images.read(images.load(files.paths[row])[0], spec))
        except ImageError as error:
            typer.echo(f"left out {files.names[row]}: {error.reason}: {error}", err=True)
            continue
        rows.append(row)
        if len(rows) == count:
            break
    if not rows:
        raise UsageError(f"no image of {files.folder} can be read.")
    names, labels = files.names, files.labels
    return Batch(
        np.stack(pixels), [files.classes[labels[row]] for row in rows], [names[row] for row in rows]
    )


def _draw(batch: Batch, columns: int, output: Path) -> None:
    from matplotlib.figure import Figure

    height, width = batch.pixels.shape[1:3]
    longest = max(height, width)
    inches = min(max(longest / 100, _SHORTEST), _LONGEST) / longest
    columns = min(columns, len(batch.labels))
    rows = -(-len(batch.labels) // columns)
    wide, high = width * inches, height * inches
    size = (columns * (wide + _GAP) - _GAP, rows * (high + _TITLE))
    figure = Figure(figsize=size)
    spaces = {"left": 0, "right": 1, "bottom": 0, "top": 1 - _TITLE / size[1]}
    spaces |= {"wspace": _GAP / wide, "hspace": _TITLE / high}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=spaces).ravel().tolist()
    for place in axes:
        place.set_axis_off()
    for place, pixels, label in zip(axes, batch.pixels, batch.labels, strict=False):
        place.imshow(pixels)
        place.set_title(label, fontsize=9, parse_math=False)
    with replacing(output) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # its box is in the picture
        figure.savefig(temporary, format="png", dpi=100)
