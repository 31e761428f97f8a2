"""Makes the pictures of the page in a worker process: every one is decoded and encoded again.

So a browser gets JPEG only, whatever the format of the file, and no image can end the server.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import simplejpeg
import xxhash

from boatinfer import images
from boatinfer.errors import ImageError
from boatinfer.images.spec import ImageSpec
from boatinfer.pages.thumbnails import Look, look
from boatinfer.storage.base import Place
from boatinfer.text import from_text

__all__ = ["FULL", "LARGE", "SMALL", "Picture", "Pictures"]

#: Largest widths and heights, pixels: in the list of near-identical images, on the page, zoomed.
SMALL, LARGE, FULL = (340, 255), (1280, 960), (8192, 8192)
_QUALITY = 88


class Picture(NamedTuple):
    """An image as the page shows it.

    Attributes:
        content: xxh3-128 of the file, hex.
        jpeg: the picture.
        look: what it looks like, roughly.
        size: width and height of the image, pixels.
        time: when the file was last changed, seconds since 1970.
    """

    content: str
    jpeg: bytes
    look: Look
    size: tuple[int, int]
    time: float


class Wanted(NamedTuple):
    """What to make.

    Attributes:
        path: text, relative to the folder.
        limits: largest width and height.
    """

    path: str
    limits: tuple[int, int]


@dataclass(frozen=True)
class _Make:
    """Makes a picture; runs in the worker process.

    Attributes:
        folder: the folder that paths are relative to.
    """

    folder: Place

    def __call__(self, wanted: Wanted) -> Picture:
        data, status = images.load_from_folder(self.folder, from_text(wanted.path))
        height, width = images.size(data)
        ratio = min(1.0, wanted.limits[0] / width, wanted.limits[1] / height)
        spec = ImageSpec(height=max(1, round(height * ratio)), width=max(1, round(width * ratio)))
        pixels = images.read(data, spec, lenient=True)
        jpeg = bytes(simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling="420"))
        content = xxhash.xxh3_128_hexdigest(data)
        return Picture(content, jpeg, look(pixels), (width, height), status.st_mtime_ns / 1e9)


class Pictures:
    """Makes pictures of the images of a folder; may be used by several threads.

    A context manager, which ends the worker process.

    Args:
        folder: the folder that paths are relative to.
    """

    def __init__(self, folder: Place) -> None:
        self._reader = images.IsolatedReader[Wanted, Picture](_Make(folder))
        self._lock = threading.Lock()

    def __enter__(self) -> Pictures:
        self._reader.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._reader.__exit__(None, None, None)

    def make(
        self, paths: Sequence[str], limits: tuple[int, int] = LARGE
    ) -> list[Picture | ImageError]:
        """Makes a picture of each path, or says why there is none."""
        with self._lock:
            return self._reader.map([Wanted(path, limits) for path in paths]) if paths else []
