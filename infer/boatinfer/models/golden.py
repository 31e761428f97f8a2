"""Golden images: a model's own test, made from a few images of the user's."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from boatinfer import images
from boatinfer.errors import ImageError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import Golden, GoldenImage
from boatinfer.storage.listing import scan
from boatinfer.text import from_text

__all__ = ["MOST_IMAGES", "golden_folder", "golden_image_bytes", "golden_images", "make_golden"]

#: How many images a model's test has at most.
MOST_IMAGES = 16

#: Stored images are at most this many times the network's size, so that they stay small
#: and reading them back still has something to shrink.
_SCALE = 2
_JPEG_QUALITY = 90


def golden_image_bytes(data: bytes, spec: ImageSpec) -> bytes:
    """Makes an image small enough to travel inside a model file.

    Args:
        data: an image file's content, in any format that `boatinfer.images.read` reads.
        spec: the network's size and geometry.

    Returns:
        A JPEG without metadata, upright if ``spec.orientation``, with the aspect ratio of
        the original and at most twice the network's height and width.

    Raises:
        ImageError: the image cannot be read.
    """
    images.read(data, spec)  # what it says of a damaged image is more exact than what `size` does
    height, width = images.size(data, orientation=spec.orientation)
    ratio = min(1.0, _SCALE * spec.height / height, _SCALE * spec.width / width)
    small = ImageSpec(
        height=max(1, round(height * ratio)),
        width=max(1, round(width * ratio)),
        orientation=spec.orientation,
    )
    jpeg = io.BytesIO()
    Image.fromarray(images.read(data, small)).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return jpeg.getvalue()


def golden_folder(folder: Path, spec: ImageSpec) -> dict[str, bytes]:
    """Makes golden images of the first image of each sub-folder, or of a folder without any.

    Args:
        folder: with images, at most `MOST_IMAGES` of which are taken.
        spec: the network's size and geometry.

    Returns:
        Paths relative to the folder, sorted, and what `golden_image_bytes` made of the images.

    Raises:
        UsageError: the folder does not exist or holds no images, or one cannot be read.
    """
    paths = sorted(found.path for found in scan(folder))
    firsts = list({path.rpartition("/")[0]: path for path in reversed(paths)}.values())[::-1]
    chosen = (firsts if len(firsts) > 1 else paths)[:MOST_IMAGES]
    if not chosen:
        raise UsageError(f"--golden {folder}: the folder holds no image files.")
    stored = {}
    made = golden_images([folder / from_text(path) for path in chosen], spec)
    for path, one in zip(chosen, made, strict=True):
        if isinstance(one, ImageError):
            raise UsageError(f"--golden {folder}: {path} cannot be read: {one}.")
        stored[path] = one
    return stored


def golden_images(paths: Sequence[Path], spec: ImageSpec) -> list[bytes | ImageError]:
    """Makes golden images of image files, in a worker process.

    Args:
        paths: of this machine.
        spec: the network's size and geometry.

    Returns:
        What `golden_image_bytes` made of each, or why it could not.
    """
    with images.IsolatedReader(_GoldenImage(spec)) as reader:
        return reader.map(paths)


@dataclass(frozen=True)
class _GoldenImage:
    """Makes what `golden_image_bytes` makes of a file; runs in a worker process."""

    spec: ImageSpec

    def __call__(self, path: Path) -> bytes:
        return golden_image_bytes(images.load(path)[0], self.spec)


def make_golden(
    stored: Iterable[bytes],
    spec: ImageSpec,
    predict: Callable[[images.Pixels], npt.NDArray[Any]],
) -> Golden:
    """Asks the trained model what it says about the stored images.

    Args:
        stored: JPEGs of `golden_image_bytes`.
        spec: the network's size and geometry.
        predict: uint8 [N, H, W, 3] RGB to probabilities [N, C].

    Returns:
        The images with their probabilities, in the given order.
    """
    stored = list(stored)
    probabilities = predict(np.stack([images.read(image, spec) for image in stored]))
    return Golden(
        images=[
            GoldenImage(image, row)
            for image, row in zip(stored, probabilities.tolist(), strict=True)
        ]
    )
