"""The images of a split to arrays, read once through the one reader."""

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
from boattrain.fitting.array_cache import kept

__all__ = ["LARGE", "Data", "Split", "fingerprint", "load_images"]

#: Arrays of more bytes are kept in a file and mapped into memory.
LARGE = 512 * 2**20

#: Bytes of pixels that are decoded before they are written.
_CHUNK = 32 * 2**20
#: Or this many images, if that is more.
_FEWEST = 64

#: Images that are read again to see whether cached pixels are theirs.
_SAMPLES = 4


@dataclass(frozen=True)
class Split:
    """The images of one split that could be read, in the order of their `LabelledFiles`.

    Attributes:
        pixels: uint8 [N, H, W, 3], RGB, as the network takes them; read-only if mapped.
        labels: int64 [N].
        paths: where they came from.
        digests: name of the file below DATA to the xxh3-128 of its content, hex.
        left_out: name of a file below DATA that could not be read to the reason.
    """

    pixels: images.Pixels
    labels: npt.NDArray[np.int64]
    paths: list[Path]
    digests: dict[str, str]
    left_out: dict[str, str]

    def take(self, rows: npt.NDArray[np.int64]) -> Split:
        """Narrows down to some images, int64 [M], whose pixels are copied if not all are taken."""
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
class Data:
    """What a training learns from.

    Attributes:
        classes: names, sorted; a label is an index into them.
        spec: size and geometry of the pixels.
        train: to learn from.
        valid: to choose the best epoch by.
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
    large: int = LARGE,
    done: Callable[[int], None] = lambda _: None,
) -> Split:
    """Reads every image of a split once; one that cannot be read is left out and listed.

    Args:
        files: what to read.
        spec: size and geometry of the network's input.
        cache: gives the folder to keep the pixels in if they are large; None keeps them in
            memory.
        name: what the split is called in that folder.
        large: the most bytes of pixels that are held in memory.
        done: is told how many more images have been read; may raise to stop.

    Raises:
        OutputError: the cache cannot be written.
    """
    shape = (spec.height, spec.width, 3)
    if cache is None or len(files.paths) * math.prod(shape) <= large:
        pixels, outcomes = _in_memory(files, spec, done)
        return _split(files, pixels, outcomes)

    def make(file: BinaryIO) -> list[str]:
        outcomes: list[str] = []
        for rows, said in _read(files, spec, done):
            file.write(rows.data)
            outcomes += said
        return outcomes

    kept_rows, outcomes = kept(
        cache(),
        f"{name}-{spec.height}x{spec.width}",
        _key(files, spec),
        dtype=np.uint8,
        shape=shape,
        most=len(files.paths),
        make=make,
        agrees=lambda rows, said: _agrees(_split(files, rows, said), spec),
    )
    return _split(files, kept_rows, outcomes)


def fingerprint(*splits: Split) -> str:
    """Identifies data by the names and contents of its images.

    Returns:
        xxh3-128 over the sorted names and the digests of the contents, hex.
    """
    whole = xxhash.xxh3_128()
    for name, digest in sorted(item for split in splits for item in split.digests.items()):
        whole.update(name.encode() + b"\0" + bytes.fromhex(digest))
    return whole.hexdigest()


def _in_memory(
    files: LabelledFiles, spec: ImageSpec, done: Callable[[int], None]
) -> tuple[images.Pixels, list[str]]:
    pixels = np.empty((len(files.paths), spec.height, spec.width, 3), np.uint8)
    outcomes: list[str] = []
    count = 0
    for rows, said in _read(files, spec, done):
        pixels[count : count + len(rows)] = rows
        count += len(rows)
        outcomes += said
    return pixels[:count], outcomes


def _read(
    files: LabelledFiles, spec: ImageSpec, done: Callable[[int], None]
) -> Iterator[tuple[images.Pixels, list[str]]]:
    """Yields the pixels of some files' readable images, and all those files' outcomes.

    An outcome is the content's digest, hex, or why there are no pixels: "reason: message".
    """
    size = max(_FEWEST, _CHUNK // math.prod((spec.height, spec.width, 3)))
    with images.IsolatedReader(_PixelsAndDigest(spec)) as reader:
        for start in range(0, len(files.paths), size):
            read = reader.map(files.paths[start : start + size])
            pixels = [one[0] for one in read if not isinstance(one, ImageError)]
            yield (
                np.stack(pixels) if pixels else np.empty((0, spec.height, spec.width, 3), np.uint8),
                [f"{o.reason}: {o}" if isinstance(o, ImageError) else o[1] for o in read],
            )
            done(len(read))


@dataclass(frozen=True)
class _PixelsAndDigest:
    """Reads an image's pixels, and the xxh3-128 of its content, hex."""

    spec: ImageSpec

    def __call__(self, path: Path) -> tuple[images.Pixels, str]:
        content, _ = images.load(path)
        return images.read(content, self.spec), xxhash.xxh3_128_hexdigest(content)


def _is_digest(outcome: str) -> bool:
    return ":" not in outcome


def _split(files: LabelledFiles, pixels: images.Pixels, outcomes: Sequence[str]) -> Split:
    readable = [_is_digest(outcome) for outcome in outcomes]
    named = list(zip(files.names, outcomes, strict=True))
    return Split(
        pixels=pixels,
        labels=np.array(files.labels, np.int64)[readable],
        paths=list(itertools.compress(files.paths, readable)),
        digests=dict(itertools.compress(named, readable)),
        left_out={name: outcome for name, outcome in named if not _is_digest(outcome)},
    )


def _key(files: LabelledFiles, spec: ImageSpec) -> str:
    """Identifies pixels by all that they depend on, the files by size and time."""
    listing = [
        (name, *_size_and_time(path)) for name, path in zip(files.names, files.paths, strict=True)
    ]
    reader = (boatinfer.__version__, PIL.__version__, simplejpeg.__version__)
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode((reader, spec, listing)))


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # it will be left out, with the reason
        return (-1, -1)
    return status.st_size, status.st_mtime_ns


def _agrees(split: Split, spec: ImageSpec) -> bool:
    """Whether some of the images still give the pixels that are kept."""
    count = len(split.paths)
    rows = sorted({count * sample // _SAMPLES for sample in range(_SAMPLES)}) if count else []
    with images.IsolatedReader(images.PixelReader(spec)) as reader:
        read = reader.map([split.paths[row] for row in rows])
    return all(
        not isinstance(pixels, ImageError) and np.array_equal(pixels, split.pixels[row])
        for row, pixels in zip(rows, read, strict=True)
    )
