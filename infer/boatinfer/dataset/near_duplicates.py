"""Near duplicates: images that look the same, such as frames of a burst or a file saved again.

Images are compared at 16 x 16 pixels: each channel without its mean, so that brightness and tint
do not matter, and the correlation of all values. On photographs of a fixed camera nothing above
`SIMILARITY` was of two classes; below 0.97 one pair in ten was.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from boatinfer import images
from boatinfer.dataset.union_find import first_rows
from boatinfer.errors import ImageError
from boatinfer.images.spec import ImageSpec
from boatinfer.progress import progress_bar

__all__ = [
    "SIMILARITY",
    "THUMBNAIL_SPEC",
    "near_duplicates",
    "read_thumbnails",
    "thumbnail",
]

Floats = npt.NDArray[np.float32]

#: Correlation from which two images are near duplicates.
SIMILARITY = 0.98
#: Size at which images are read; it is then halved.
THUMBNAIL_SPEC = ImageSpec(height=32, width=32)
#: Values of a vector.
_DIMENSION = 16 * 16 * 3
#: Standard deviation in grey levels below which an image has nothing to compare.
_MIN_CONTRAST = 2.0
#: Thumbnails that are compared with all others at once, and images read between two steps of the
#: progress bar.
_BLOCK, _CHUNK = 1024, 256


def read_thumbnails(paths: Sequence[Path]) -> tuple[Floats, list[str]]:
    """Reads images as vectors whose dot product is their correlation.

    Args:
        paths: the files.

    Returns:
        float32 [N, 768] of length 1, zero for an image that cannot be read or has no contrast;
        and the xxh3-128 of each file's content in hex, empty where it cannot be read.
    """
    vectors = np.zeros((len(paths), _DIMENSION), np.float32)
    digests = [""] * len(paths)
    with (
        images.IsolatedReader(_read) as reader,
        progress_bar("looking for near duplicates", len(paths), "files") as advance,
    ):
        for start in range(0, len(paths), _CHUNK):
            chunk = list(paths[start : start + _CHUNK])
            for row, result in enumerate(reader.map(chunk), start):
                if not isinstance(result, ImageError):
                    digests[row], vectors[row] = result
            advance(len(chunk))
    return vectors, digests


def _read(path: Path) -> tuple[str, Floats]:
    """Reads an image in the worker process."""
    content, _ = images.load(path)
    digest = xxhash.xxh3_128_hexdigest(content)
    try:
        return digest, thumbnail(images.read(content, THUMBNAIL_SPEC))
    except ImageError:
        return digest, np.zeros(_DIMENSION, np.float32)


def thumbnail(pixels: images.Pixels) -> Floats:
    """Makes the vector of an image, float32 [768], from uint8 [32, 32, 3]."""
    halved = pixels.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3), dtype=np.float32)
    centred = (halved - halved.mean(axis=(0, 1))).ravel()
    norm = float(np.linalg.norm(centred))
    has_contrast = norm >= _MIN_CONTRAST * np.sqrt(_DIMENSION)
    return centred / norm if has_contrast else np.zeros_like(centred)


def near_duplicates(vectors: Floats, digests: Sequence[str]) -> npt.NDArray[np.int64]:
    """Groups near duplicates, and files of equal content; whatever is linked is one group.

    Args:
        vectors: float32 [N, D], from `read_thumbnails`.
        digests: of each file's content.

    Returns:
        int64 [N], the first row of each image's group.
    """
    links = itertools.chain(_same(digests), _similar(vectors))
    return np.array(first_rows(len(digests), links), np.int64)


def _same(digests: Sequence[str]) -> Iterator[tuple[int, int]]:
    seen: dict[str, int] = {}
    for row, digest in enumerate(digests):
        if digest and seen.setdefault(digest, row) != row:
            yield seen[digest], row


def _similar(vectors: Floats) -> Iterator[tuple[Any, Any]]:
    for start in range(0, len(vectors), _BLOCK):
        correlation = vectors[start : start + _BLOCK] @ vectors[start:].T
        ones, others = np.nonzero(correlation >= SIMILARITY)
        apart = others > ones
        yield from zip(
            (ones[apart] + start).tolist(), (others[apart] + start).tolist(), strict=True
        )
