"""Draws a grid of labelled images, at the input size of a network."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from boatinfer import images
from boatinfer.dataset.class_folders import (
    LabelledFiles,
    class_folders,
    list_files,
    split_folders,
    split_paths,
)
from boatinfer.dataset.labelled_images import find_images, read_collection
from boatinfer.dataset.splits import TEST, TRAIN, parse_share
from boatinfer.errors import ImageError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.storage.files import atomic_write, require_writable
from boattrain.augment import Augmentation, augment
from boattrain.data.options import ShowOptions

__all__ = ["DEFAULT_AUGMENTATION", "ImageGrid", "show"]

_log = logging.getLogger(__name__)

#: The augmentation of ``--augment`` without further options.
DEFAULT_AUGMENTATION = Augmentation(
    flip=True, shift=0.1, zoom=0.1, rotate=5.0, brightness=0.1, contrast=0.2
)

#: Images are enlarged by a whole factor until their longer side has about this many pixels.
_MIN_DRAWN_SIDE = 240
#: Horizontal gap between images, and height of a title, in pixels.
_GAP, _TITLE_HEIGHT = 10, 26


@dataclass(frozen=True)
class ImageGrid:
    """The images of a grid, row by row.

    Attributes:
        pixels: uint8 [N, H, W, 3], RGB.
        labels: class names.
        names: file names below DATA.
    """

    pixels: images.Pixels
    labels: list[str]
    names: list[str]


def show(options: ShowOptions) -> ImageGrid:
    """Draws random images of every class of a split, with their classes as titles, as a PNG file.

    An unreadable image is logged, and replaced by another one.

    Args:
        options: data, split, number of images, augmentation and output file.

    Returns:
        The images drawn.

    Raises:
        UsageError: the data or an option cannot be used.
        OutputError: the file could not be written.
    """
    spec = _parse_size(options.size)
    if options.rows * options.columns * spec.height * spec.width > images.MAX_PIXELS:
        raise UsageError(
            f"the grid would have more than {images.MAX_PIXELS:,} pixels; use fewer --rows or "
            "--columns, or a smaller --size."
        )
    class_folders(options.data)  # report a wrong folder before an existing output file
    _check_output(options)
    files = _list_split(options)
    grid = _read_random_images(files, spec, options.rows * options.columns, options.seed)
    if options.augment or options.has_augmentation:
        augmentation: Augmentation = options if options.has_augmentation else DEFAULT_AUGMENTATION
        augmented = augment(grid.pixels, augmentation, np.random.default_rng(options.seed))
        grid = ImageGrid(augmented, grid.labels, grid.names)
    _draw(grid, options.columns, options.output)
    return grid


def _parse_size(size: str) -> ImageSpec:
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", size)
    if not match:
        raise UsageError(
            f"--size {size} is not HEIGHTxWIDTH in pixels, from 1 to 9999; write it like 120x400."
        )
    return ImageSpec(height=int(match[1]), width=int(match[2]))


def _check_output(options: ShowOptions) -> None:
    output, data = options.output, options.data
    if output.suffix.lower() != ".png":
        raise UsageError(f"the image {output} must end in .png.")
    require_writable(output, force=options.force)
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(data)):
        raise UsageError(f"{output} is inside {data}; give a path outside of it.")


def _list_split(options: ShowOptions) -> LabelledFiles:
    data, split = options.data, options.split
    if options.table is None and split_folders(data):
        folder = split_paths(data).get(split, data / split)
        files = list_files(data, folder, sorted(class_folders(folder)))
    elif split == TEST and options.table is None:
        raise UsageError(f"{data} has no folder {TEST}/; give another --split.")
    elif split == TEST:
        files = read_collection(data, options.table).of(TEST)
    else:
        share = parse_share(options.valid, "--valid")
        both = find_images(data, share, table=options.table, group_by=options.group_by)
        files = both[0] if split == TRAIN else both[1]
    if not files.paths:
        raise UsageError(f"{files.folder} holds no images in class folders; check the name.")
    return files


def _read_random_images(files: LabelledFiles, spec: ImageSpec, count: int, seed: int) -> ImageGrid:
    pixels: list[images.Pixels] = []
    rows: list[int] = []
    remaining = _shuffled_by_class(np.asarray(files.labels), seed)
    with images.IsolatedReader(images.PixelReader(spec)) as reader:
        while remaining and len(rows) < count:
            chunk, remaining = remaining[: count - len(rows)], remaining[count - len(rows) :]
            for row, result in zip(chunk, reader.map([files.paths[r] for r in chunk]), strict=True):
                if isinstance(result, ImageError):
                    _log.warning("left out %s: %s: %s", files.names[row], result.reason, result)
                    continue
                pixels.append(result)
                rows.append(row)
    if not rows:
        raise UsageError(f"no image of {files.folder} can be read.")
    names, labels = files.names, files.labels
    return ImageGrid(
        np.stack(pixels), [files.classes[labels[row]] for row in rows], [names[row] for row in rows]
    )


def _shuffled_by_class(labels: npt.NDArray[np.int64], seed: int) -> list[int]:
    """Indices of all images in random order: first one of each class, then the second, and so on.

    Args:
        labels: class of each image, int64 [N].
        seed: of the order.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    ordered = labels[by_class]
    rank = np.empty(len(labels), np.int64)
    rank[by_class] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    shuffled: list[int] = order[np.argsort(rank[order], kind="stable")].tolist()
    return shuffled


def _draw(grid: ImageGrid, columns: int, output: Path) -> None:
    import matplotlib  # for its font, which has more characters than Pillow's

    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 14)
    scale = max(1, _MIN_DRAWN_SIDE // max(grid.pixels.shape[1:3]))
    drawn = grid.pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = drawn.shape[1:3]
    columns = min(columns, len(drawn))
    rows = -(-len(drawn) // columns)
    canvas = Image.new(
        "RGB", (columns * (width + _GAP) - _GAP, rows * (height + _TITLE_HEIGHT)), "white"
    )
    draw = ImageDraw.Draw(canvas)
    for position, (pixels, label) in enumerate(zip(drawn, grid.labels, strict=True)):
        row, column = divmod(position, columns)
        x, y = column * (width + _GAP), row * (height + _TITLE_HEIGHT)
        draw.text((x + width // 2, y + _TITLE_HEIGHT // 2), label, "black", font, anchor="mm")
        canvas.paste(Image.fromarray(pixels), (x, y + _TITLE_HEIGHT))
    with atomic_write(output) as temporary:
        canvas.save(temporary, "PNG")
