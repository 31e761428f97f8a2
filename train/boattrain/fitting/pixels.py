"""Decodes the images of a split to arrays."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt
import PIL
import simplejpeg
import xxhash

import boatinfer
from boatinfer import images
from boatinfer.dataset.class_folders import LabelledFiles
from boatinfer.errors import ImageError
from boatinfer.images.spec import ImageSpec
from boattrain.fitting.array_cache import cached_array

__all__ = ["MAX_BYTES_IN_MEMORY", "Split", "TrainingData", "fingerprint", "load_images"]

#: Larger arrays are cached in a file and memory-mapped.
MAX_BYTES_IN_MEMORY = 512 * 2**20

#: Images are decoded in chunks of about this many bytes of pixels,
_CHUNK_BYTES = 32 * 2**20
#: but at least this many images.
_MIN_CHUNK_IMAGES = 64

#: Number of images that are decoded again to check cached pixels.
_CHECKED_IMAGES = 4


@dataclass(frozen=True)
class Split:
    """The readable images of a split, in the order of its `LabelledFiles`.

    Attributes:
        pixels: uint8 [N, H, W, 3], RGB, at the input size; read-only if memory-mapped.
        labels: int64 [N].
        paths: paths of the files.
        digests: xxh3-128 of the content, in hex, by the path of the file below DATA.
        unreadable: reason why a file cannot be read, by the path of the file below DATA.
    """

    pixels: images.Pixels
    labels: npt.NDArray[np.int64]
    paths: list[Path]
    digests: dict[str, str]
    unreadable: dict[str, str]

    def subset(self, rows: npt.NDArray[np.int64]) -> Split:
        """Returns some of the images, by rows, int64 [M]; copies pixels unless all are chosen."""
        if len(rows) == len(self.labels):
            return self
        digests = list(self.digests.items())
        return dataclasses.replace(
            self,
            pixels=self.pixels[rows],
            labels=self.labels[rows],
            paths=[self.paths[row] for row in rows],
            digests=dict(digests[row] for row in rows),
        )


@dataclass(frozen=True)
class TrainingData:
    """The images and classes of a training.

    Attributes:
        classes: class names, sorted; a label is an index into them.
        spec: size and geometry of the pixels.
        train: training images.
        valid: validation images.
    """

    classes: list[str]
    spec: ImageSpec
    train: Split
    valid: Split


def load_images(
    files: LabelledFiles,
    spec: ImageSpec,
    cache: Callable[[], Path] | None = None,
    *,
    name: str = "",
    max_in_memory: int = MAX_BYTES_IN_MEMORY,
    advance: Callable[[int], None] = lambda _: None,
) -> Split:
    """Decodes the images of a split; unreadable ones are left out and listed.

    Args:
        files: the files to read.
        spec: size and geometry of the input of the network.
        cache: returns the cache folder for large arrays; None keeps all in memory.
        name: base name of the cached array.
        max_in_memory: size in bytes above which the pixels are cached in a file.
        advance: called with the number of further images that have been read; may raise to stop.

    Raises:
        OutputError: the cache cannot be written.
    """
    shape = (spec.height, spec.width, 3)
    if cache is None or len(files.paths) * math.prod(shape) <= max_in_memory:
        pixels, outcomes = _decode_to_memory(files, spec, advance)
        return _make_split(files, pixels, outcomes)

    def write_rows(file: BinaryIO) -> list[str]:
        outcomes: list[str] = []
        for rows, chunk_outcomes in _decode_chunks(files, spec, advance):
            file.write(rows.data)
            outcomes += chunk_outcomes
        return outcomes

    pixels, outcomes = cached_array(
        cache(),
        f"{name}-{spec.height}x{spec.width}",
        _key(files, spec),
        dtype=np.uint8,
        shape=shape,
        max_rows=len(files.paths),
        write_rows=write_rows,
        is_valid=lambda rows, notes: _matches_files(_make_split(files, rows, notes), spec),
    )
    return _make_split(files, pixels, outcomes)


def fingerprint(*splits: Split) -> str:
    """Computes a fingerprint of the names and contents of images.

    Returns:
        xxh3-128 of the sorted names and digests of the images, in hex.
    """
    hasher = xxhash.xxh3_128()
    for name, digest in sorted(item for split in splits for item in split.digests.items()):
        hasher.update(name.encode() + b"\0" + bytes.fromhex(digest))
    return hasher.hexdigest()


def _decode_to_memory(
    files: LabelledFiles, spec: ImageSpec, advance: Callable[[int], None]
) -> tuple[images.Pixels, list[str]]:
    pixels = np.empty((len(files.paths), spec.height, spec.width, 3), np.uint8)
    outcomes: list[str] = []
    count = 0
    for rows, chunk_outcomes in _decode_chunks(files, spec, advance):
        pixels[count : count + len(rows)] = rows
        count += len(rows)
        outcomes += chunk_outcomes
    return pixels[:count], outcomes


def _decode_chunks(
    files: LabelledFiles, spec: ImageSpec, advance: Callable[[int], None]
) -> Iterator[tuple[images.Pixels, list[str]]]:
    """Yields the pixels of the readable images of a chunk of files, and the outcome of each file.

    An outcome is the digest of the content, in hex, or an error as "reason: message".
    """
    size = max(_MIN_CHUNK_IMAGES, _CHUNK_BYTES // math.prod((spec.height, spec.width, 3)))
    with images.IsolatedReader(_PixelsAndDigest(spec)) as reader:
        for start in range(0, len(files.paths), size):
            results = reader.map(files.paths[start : start + size])
            pixels = [result[0] for result in results if not isinstance(result, ImageError)]
            yield (
                np.stack(pixels) if pixels else np.empty((0, spec.height, spec.width, 3), np.uint8),
                [f"{r.reason}: {r}" if isinstance(r, ImageError) else r[1] for r in results],
            )
            advance(len(results))


@dataclass(frozen=True)
class _PixelsAndDigest:
    """Decodes an image, and hashes its content (xxh3-128, in hex)."""

    spec: ImageSpec

    def __call__(self, path: Path) -> tuple[images.Pixels, str]:
        content, _ = images.load(path)
        return images.read(content, self.spec), xxhash.xxh3_128_hexdigest(content)


def _is_digest(outcome: str) -> bool:
    return ":" not in outcome


def _make_split(files: LabelledFiles, pixels: images.Pixels, outcomes: Sequence[str]) -> Split:
    readable = [_is_digest(outcome) for outcome in outcomes]
    by_name = list(zip(files.names, outcomes, strict=True))
    return Split(
        pixels=pixels,
        labels=np.array(files.labels, np.int64)[readable],
        paths=list(itertools.compress(files.paths, readable)),
        digests=dict(itertools.compress(by_name, readable)),
        unreadable={name: outcome for name, outcome in by_name if not _is_digest(outcome)},
    )


def _key(files: LabelledFiles, spec: ImageSpec) -> str:
    """Computes a key of all that the pixels depend on; files count with size and mtime."""
    files_info = [
        (name, *_size_and_mtime(path)) for name, path in zip(files.names, files.paths, strict=True)
    ]
    reader = (boatinfer.__version__, PIL.__version__, simplejpeg.__version__)
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode((reader, spec, files_info)))


def _size_and_mtime(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # reported when it is decoded
        return (-1, -1)
    return status.st_size, status.st_mtime_ns


def _matches_files(split: Split, spec: ImageSpec) -> bool:
    """Whether some of the images still decode to the cached pixels."""
    count = len(split.paths)
    rows = (
        sorted({count * sample // _CHECKED_IMAGES for sample in range(_CHECKED_IMAGES)})
        if count
        else []
    )
    with images.IsolatedReader(images.PixelReader(spec)) as reader:
        results = reader.map([split.paths[row] for row in rows])
    return all(
        not isinstance(pixels, ImageError) and np.array_equal(pixels, split.pixels[row])
        for row, pixels in zip(rows, results, strict=True)
    )
