"""Golden images: a model's self-test, made from a few images of the user."""

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

__all__ = [
    "MAX_GOLDEN_IMAGES",
    "golden_image_bytes",
    "golden_images",
    "golden_images_of_folder",
    "make_golden",
]

#: Maximum number of golden images.
MAX_GOLDEN_IMAGES = 16

#: Stored images are at most this many times the network's size: small, but so large that reading
#: them still shrinks them.
_SCALE = 2
_JPEG_QUALITY = 90


def golden_image_bytes(data: bytes, spec: ImageSpec) -> bytes:
    """Makes an image small enough to be stored in a model file.

    Args:
        data: an image file's content, in any format that `boatinfer.images.read` reads.
        spec: the network's size and geometry.

    Returns:
        A JPEG without metadata, upright if ``spec.orientation``, with the aspect ratio of
        the original and at most twice the height and width to which it is resized.

    Raises:
        ImageError: the image cannot be read.
    """
    images.read(data, spec)  # its errors are more precise than those of images.size
    height, width = images.size(data, orientation=spec.orientation)
    resized = images.resized_size(height, width, spec)
    ratio = min(1.0, _SCALE * resized[0] / height, _SCALE * resized[1] / width)
    small = ImageSpec(
        height=max(1, round(height * ratio)),
        width=max(1, round(width * ratio)),
        orientation=spec.orientation,
    )
    jpeg = io.BytesIO()
    Image.fromarray(images.read(data, small)).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    return jpeg.getvalue()


def golden_images_of_folder(folder: Path, spec: ImageSpec) -> dict[str, bytes]:
    """Makes golden images of the first image of each sub-folder, or of the folder's own images.

    Args:
        folder: with images, of which at most `MAX_GOLDEN_IMAGES` are used.
        spec: the network's size and geometry.

    Returns:
        Results of `golden_image_bytes` by path relative to the folder, sorted.

    Raises:
        UsageError: the folder does not exist or holds no images, or one cannot be read.
    """
    paths = sorted(file.path for file in scan(folder))
    firsts = list({path.rpartition("/")[0]: path for path in reversed(paths)}.values())[::-1]
    chosen = (firsts if len(firsts) > 1 else paths)[:MAX_GOLDEN_IMAGES]
    if not chosen:
        raise UsageError(f"--golden {folder}: the folder holds no image files.")
    stored = {}
    encoded_images = golden_images([folder / from_text(path) for path in chosen], spec)
    for path, encoded in zip(chosen, encoded_images, strict=True):
        if isinstance(encoded, ImageError):
            raise UsageError(f"--golden {folder}: {path} cannot be read: {encoded}.")
        stored[path] = encoded
    return stored


def golden_images(paths: Sequence[Path], spec: ImageSpec) -> list[bytes | ImageError]:
    """Makes golden images of image files, in a worker process.

    Args:
        paths: image files on this machine.
        spec: the network's size and geometry.

    Returns:
        The result of `golden_image_bytes` for each, or its error.
    """
    with images.IsolatedReader(_MakeGoldenImage(spec)) as reader:
        return reader.map(paths)


@dataclass(frozen=True)
class _MakeGoldenImage:
    """Calls `golden_image_bytes` on a file; runs in a worker process."""

    spec: ImageSpec

    def __call__(self, path: Path) -> bytes:
        return golden_image_bytes(images.load(path)[0], self.spec)


def make_golden(
    stored: Iterable[bytes],
    spec: ImageSpec,
    predict: Callable[[images.Pixels], npt.NDArray[Any]],
) -> Golden:
    """Makes the golden images with the trained model's predictions.

    Args:
        stored: results of `golden_image_bytes`.
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
