"""What a model says of image files as they are: whole, and decoded at reduced size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from boatinfer import images
from boatinfer.images import Pixels
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import Decoding
from boatinfer.models.inference import Floats
from boatinfer.storage.listing import scan
from boatinfer.text import from_text

__all__ = ["Originals", "read_originals"]

_DECODES = ("full", "double", "scaled")
_MAX_IMAGES, _BATCH_SIZE = 64, 8
_DIGITS = 4


class _Read(NamedTuple):
    """Pixels for each of `_DECODES`, and the share of the image that is cut off."""

    pixels: list[Pixels]
    cut: float


@dataclass(frozen=True)
class _ReadDecodes:
    """Reads an image file once for each of `_DECODES`; runs in a worker process."""

    spec: ImageSpec

    def __call__(self, path: Path) -> _Read:
        data = images.load(path)[0]
        specs = [msgspec.structs.replace(self.spec, decode=decode) for decode in _DECODES]
        size = images.size(data, orientation=self.spec.orientation)
        resized = images.resized_size(*size, self.spec)
        frame = (self.spec.height, self.spec.width)
        shown = (min(a, b) / a for a, b in zip(resized, frame, strict=True))
        return _Read([images.read(data, spec) for spec in specs], 1 - float(np.prod(list(shown))))


class Originals(NamedTuple):
    """Image files and what a model says of them.

    Attributes:
        probabilities: by path, of the files asked for, as the card decodes them.
        decoding: how much decoding at reduced size changes.
        cut: median share of the images that is cut off.
    """

    probabilities: dict[str, Floats]
    decoding: Decoding
    cut: float


def read_originals(
    folder: Path, paths: list[str], spec: ImageSpec, predict: Callable[[Pixels], Floats]
) -> Originals:
    """Classifies image files, and compares the ways to decode them.

    Args:
        folder: with images.
        paths: paths relative to it, which are all classified; of the others some, up to 64 in all.
        spec: the card's.
        predict: uint8 [N, *spec.shape] to probabilities [N, C].
    """
    others = sorted({file.path for file in scan(folder)} - set(paths))
    step = max(1, -(-len(others) // max(1, _MAX_IMAGES - len(paths))))
    chosen = [*paths, *others[::step]]
    by_decode: list[list[Floats]] = [[] for _ in _DECODES]
    kept: list[str] = []
    cuts: list[float] = []
    with images.IsolatedReader(_ReadDecodes(spec)) as reader:
        for start in range(0, len(chosen), _BATCH_SIZE):
            batch = chosen[start : start + _BATCH_SIZE]
            results = reader.map([folder / from_text(path) for path in batch])
            read = [(p, r) for p, r in zip(batch, results, strict=True) if isinstance(r, _Read)]
            if not read:
                continue
            kept += [path for path, _ in read]
            cuts += [result.cut for _, result in read]
            for index, found in enumerate(by_decode):
                found.append(predict(np.stack([result.pixels[index] for _, result in read])))
    full, *reduced = (np.concatenate(found) for found in by_decode)
    chosen_decode = [full, *reduced][_DECODES.index(spec.decode)]
    return Originals(
        {path: row for path, row in zip(kept, chosen_decode, strict=True) if path in set(paths)},
        Decoding(
            images=len(kept),
            agreement={
                name: round(float((found.argmax(1) == full.argmax(1)).mean()), _DIGITS)
                for name, found in zip(_DECODES[1:], reduced, strict=True)
            },
            difference={
                name: round(float(np.abs(found - full).max()), _DIGITS)
                for name, found in zip(_DECODES[1:], reduced, strict=True)
            },
        ),
        float(np.median(cuts)),
    )
