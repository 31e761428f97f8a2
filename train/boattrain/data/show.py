"""A batch of labelled images as one picture, as the network would get them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont

from boatinfer import images
from boatinfer.dataset.class_folders import (
    LabelledFiles,
    class_folders,
    find_images,
    list_files,
    split_folders,
)
from boatinfer.dataset.splits import TEST, TRAIN, parse_share
from boatinfer.errors import ImageError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.storage.files import atomic_write, require_writable
from boattrain.augment import Augmentation, augment
from boattrain.data.options import ShowOptions

__all__ = ["MODERATE", "Batch", "show"]

#: What ``--augment`` alone stands for.
MODERATE = Augmentation(flip=True, shift=0.1, zoom=0.1, rotate=5.0, brightness=0.1, contrast=0.2)

#: Images whose longer side has fewer pixels are drawn larger, each pixel as a square.
_LEAST = 240
#: Pixels between images beside each other, and for a title.
_GAP, _TITLE = 10, 26


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
    if options.rows * options.columns * spec.height * spec.width > images.MAX_PIXELS:
        raise UsageError(
            f"the picture would have more than {images.MAX_PIXELS:,} pixels; take fewer --rows or "
            "--columns, or a smaller --size."
        )
    class_folders(options.data)  # a mistyped name is told before a file that is in the way
    _require_place(options)
    files = _files(options)
    batch = _take(files, spec, options.rows * options.columns, options.seed)
    if options.augment or options.augments:
        amounts: Augmentation = options if options.augments else MODERATE
        changed = augment(batch.pixels, amounts, np.random.default_rng(options.seed))
        batch = Batch(changed, batch.labels, batch.names)
    _draw(batch, options.columns, options.output)
    return batch


def _spec(size: str) -> ImageSpec:
    numbers = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", size)
    if not numbers:
        raise UsageError(
            f"--size {size} is not HEIGHTxWIDTH in pixels, from 1 to 9999; write it like 120x400."
        )
    return ImageSpec(height=int(numbers[1]), width=int(numbers[2]))


def _require_place(options: ShowOptions) -> None:
    output, data = options.output, options.data
    if output.suffix.lower() != ".png":
        raise UsageError(f"the picture {output} must end in .png; give it that ending.")
    require_writable(output, force=options.force)
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(data)):
        raise UsageError(f"{output} lies inside {data}; choose a place outside of it.")


def _files(options: ShowOptions) -> LabelledFiles:
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


def _take(files: LabelledFiles, spec: ImageSpec, count: int, seed: int) -> Batch:
    pixels: list[images.Pixels] = []
    rows: list[int] = []
    waiting = np.random.default_rng(seed).permutation(len(files.paths)).tolist()
    with images.IsolatedReader(images.PixelReader(spec)) as reader:
        while waiting and len(rows) < count:
            some, waiting = waiting[: count - len(rows)], waiting[count - len(rows) :]
            for row, read in zip(some, reader.map([files.paths[r] for r in some]), strict=True):
                if isinstance(read, ImageError):
                    typer.echo(f"left out {files.names[row]}: {read.reason}: {read}", err=True)
                    continue
                pixels.append(read)
                rows.append(row)
    if not rows:
        raise UsageError(f"no image of {files.folder} can be read.")
    names, labels = files.names, files.labels
    return Batch(
        np.stack(pixels), [files.classes[labels[row]] for row in rows], [names[row] for row in rows]
    )


def _draw(batch: Batch, columns: int, output: Path) -> None:
    import matplotlib  # for its font, which has more letters than Pillow's own

    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 14)
    scale = max(1, _LEAST // max(batch.pixels.shape[1:3]))
    drawn = batch.pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = drawn.shape[1:3]
    columns = min(columns, len(drawn))
    rows = -(-len(drawn) // columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (height + _TITLE)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (pixels, label) in enumerate(zip(drawn, batch.labels, strict=True)):
        row, column = divmod(place, columns)
        left, top = column * (width + _GAP), row * (height + _TITLE)
        pen.text((left + width // 2, top + _TITLE // 2), label, "black", font, anchor="mm")
        sheet.paste(Image.fromarray(pixels), (left, top + _TITLE))
    with atomic_write(output) as temporary:
        sheet.save(temporary, "PNG")
