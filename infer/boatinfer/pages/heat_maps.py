"""Where the network looked, drawn over the pictures of a page.

Only the pictures that a page shows are run through the network again, so a run without a page, and
an image without a picture, cost nothing.
"""

from __future__ import annotations

import functools
import io
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from boatinfer import images
from boatinfer.errors import BoatinferError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.inference import Floats
from boatinfer.models.model import Model, load, read_model
from boatinfer.results.summary import Summary
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place
from boatinfer.text import from_text

__all__ = ["HeatMap", "heat_maps", "region", "shade"]

#: How dark a place is drawn that did not count, of 1.
_DARKNESS = 0.7
#: Pictures that are drawn on, at most.
_PICTURES = 100


class HeatMap(NamedTuple):
    """A shade over a picture, clear where the network saw the class.

    Attributes:
        source: a small PNG as a data URI.
        size: width and height of the picture, in pixels.
        region: x, y, width and height of what the network saw of it, in pixels.
    """

    source: str
    size: tuple[int, int]
    region: tuple[float, ...]


def heat_maps(summary: Summary, paths: Iterable[str]) -> Mapping[str, HeatMap]:
    """Makes the heat maps of images, in a worker process.

    Args:
        summary: the run that classified them, with its model file.
        paths: of the images, as text.

    Returns:
        By path; without those that cannot be made, as where the model is gone, has another
        content now, or has no class-activation output.
    """
    paths = list(dict.fromkeys(paths))[:_PICTURES]
    if not (paths and summary.model_file):
        return {}
    folder = place(from_text(summary.folder))
    work = _HeatMap(folder, from_text(summary.model_file), summary.model)
    with images.IsolatedReader(work) as reader:
        made = zip(paths, reader.map(paths), strict=True)
        return {path: one for path, one in made if isinstance(one, HeatMap)}


@dataclass(frozen=True)
class _HeatMap:
    """Makes the heat map of an image; runs in a worker process.

    Attributes:
        folder: the folder that paths are relative to.
        model: the model file.
        digest: what its digest should be.
    """

    folder: Place
    model: str
    digest: str

    def __call__(self, path: str) -> HeatMap | None:
        model = _opened(self.model, self.digest)
        if model is None:
            return None
        data = images.load_from_folder(self.folder, from_text(path))[0]
        spec = model.card.image
        height, width = images.size(data, orientation=spec.orientation)
        activation = model.class_activations(images.read(data, spec, lenient=True)[None])
        if activation is None or not np.isfinite(activation).all():
            return None
        source = f"data:image/png;base64,{b64encode(shade(activation[0])).decode()}"
        return HeatMap(source, (width, height), region(width, height, spec))


@functools.lru_cache(maxsize=1)
def _opened(name: str, digest: str) -> Model | None:
    """The model, if it is the one meant and has a class-activation output."""
    try:
        file = place(name)
        model = load(read_model(file), file, "cpu", threads=1)
    except (BoatinferError, OSError):
        return None
    is_meant = model.digest == digest and model.card.outputs.class_activation is not None
    return model if is_meant else None


def shade(activation: Floats) -> bytes:
    """Draws a class activation as a small PNG: black, transparent where it is largest.

    Args:
        activation: [h, w]; what speaks against the class, below zero, counts as nothing.
    """
    positive = np.maximum(activation, 0)
    share = positive / max(float(positive.max()), np.finfo(np.float32).tiny)
    alpha = np.round(255 * _DARKNESS * (1 - share)).astype(np.uint8)
    png = io.BytesIO()
    Image.merge("LA", [Image.new("L", alpha.shape[::-1]), Image.fromarray(alpha)]).save(png, "PNG")
    return png.getvalue()


def region(width: int, height: int, spec: ImageSpec) -> tuple[float, ...]:
    """What the network sees of a picture: x, y, width and height in its pixels.

    With ``pad`` it is larger than the picture, with ``crop`` smaller.
    """
    resized = images.resized_size(height, width, spec)
    across, down = width / resized[1], height / resized[0]
    seen = (spec.width * across, spec.height * down)
    return (_start(width, seen[0], spec), _start(height, seen[1], spec), *seen)


def _start(size: int, seen: float, spec: ImageSpec) -> float:
    """Where what is seen begins: bars may be at the end alone, what is cut is at both sides."""
    return 0.0 if seen > size and spec.pad_side == "end" else (size - seen) / 2
