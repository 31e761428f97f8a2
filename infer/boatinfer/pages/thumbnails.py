"""Thumbnails inside a page; nearly identical ones are shown once."""

from __future__ import annotations

import functools
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import simplejpeg

from boatinfer import images
from boatinfer.errors import ImageError
from boatinfer.images.geometry import Pixels
from boatinfer.images.spec import ImageSpec
from boatinfer.pages.page import address, cost
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place
from boatinfer.text import from_text

__all__ = ["Album", "Look", "Picture", "look", "thumbnail"]

#: Largest width and height of a thumbnail, pixels.
_WIDTH, _HEIGHT = 340, 255
_QUALITY = 82
#: Bytes that the thumbnails of a page take at most.
_BUDGET = 1_900_000
#: Columns and rows of the differences that a picture's hash is made of.
_COLUMNS, _ROWS = 8, 8
#: Nearly identical pictures differ in no more bits of their hash, of 64.
_BITS = 6
#: And in no more of 255 in the mean of each colour, for pictures of little but one colour.
_COLOUR = 16


class Look(NamedTuple):
    """What a picture looks like, roughly.

    Attributes:
        differences: a difference hash: a bit for each two neighbours in a row of a small grey
            picture, whether the right one is lighter.
        colour: mean red, green and blue.
    """

    differences: int
    colour: tuple[float, ...]

    def is_like(self, other: Look) -> bool:
        """Whether two pictures are nearly identical."""
        bits = (self.differences ^ other.differences).bit_count()
        pairs = zip(self.colour, other.colour, strict=True)
        return bits <= _BITS and all(abs(mine - theirs) <= _COLOUR for mine, theirs in pairs)


class Picture(NamedTuple):
    """An image on a page.

    Attributes:
        path: its path as text.
        address: its URL.
        source: the thumbnail as a data URI; None if it could not be made.
        missing: the reason why there is none.
        row: the row that it was made from.
        alike: number of other images that are nearly identical and not shown.
    """

    path: str
    address: str
    source: str | None
    missing: str
    row: Mapping[str, Any]
    alike: int = 0

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def cost(self) -> int:
        """Bytes that it takes in a page, at most."""
        return len(self.source or "") + 2 * cost(self.path, self.address)


class Album:
    """Makes the thumbnails of one page, up to a total size.

    Args:
        folder: the folder that paths are relative to, as text.
        link: gives the address of a path; by default an absolute one.
    """

    def __init__(self, folder: str, link: Callable[[str], str] | None = None) -> None:
        self._folder = place(from_text(folder))
        self._link = link or functools.partial(address, folder=folder)
        self._bytes_left = _BUDGET
        self._made: dict[str, tuple[bytes, Look] | ImageError] = {}

    def prepare(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Makes the thumbnails of all these rows at once, in one worker process."""
        paths = list(dict.fromkeys(row["path"] for row in rows if row["path"] not in self._made))
        if paths:
            with images.IsolatedReader(_Thumbnail(self._folder)) as reader:
                self._made.update(zip(paths, reader.map(paths), strict=True))

    def pictures(self, rows: Iterable[Mapping[str, Any]]) -> list[Picture]:
        """Makes a picture of each row's ``path``, until the page is full."""
        rows = list(rows)
        self.prepare(rows)
        return self.fit([[self._picture(row, 0) for row in rows]])[0]

    def distinct(self, rows: Iterable[Mapping[str, Any]]) -> list[Picture]:
        """Makes one picture of each group of nearly identical images, the first; see `fit`."""
        rows = list(rows)
        self.prepare(rows)
        groups: list[tuple[Look | None, list[Mapping[str, Any]]]] = []
        for row in rows:
            made = self._made[row["path"]]
            its = None if isinstance(made, ImageError) else made[1]
            same = next((rows for seen, rows in groups if its and seen and its.is_like(seen)), None)
            if same is None:
                groups.append((its, [row]))
            else:
                same.append(row)
        return [self._picture(alike[0], len(alike) - 1) for _, alike in groups]

    def fit(self, lists: Sequence[Sequence[Picture]]) -> list[list[Picture]]:
        """Takes the first pictures of all lists in turn, then the second, until the page is full.

        Args:
            lists: pictures, the most important first.

        Returns:
            As many lists.
        """
        fitting: list[list[Picture]] = [[] for _ in lists]
        for rank in range(max(map(len, lists), default=0)):
            for pictures, taken in zip(lists, fitting, strict=True):
                if rank < len(pictures):
                    self._bytes_left -= pictures[rank].cost
                    if self._bytes_left < 0:
                        return fitting
                    taken.append(pictures[rank])
        return fitting

    def _picture(self, row: Mapping[str, Any], alike: int) -> Picture:
        made, link = self._made[row["path"]], self._link(row["path"])
        if isinstance(made, ImageError):
            return Picture(row["path"], link, None, str(made), row, alike)
        source = f"data:image/jpeg;base64,{b64encode(made[0]).decode()}"
        return Picture(row["path"], link, source, "", row, alike)


@dataclass(frozen=True)
class _Thumbnail:
    """Makes the thumbnail of an image; runs in a worker process.

    Attributes:
        folder: the folder that paths are relative to.
    """

    folder: Place

    def __call__(self, path: str) -> tuple[bytes, Look]:
        pixels = _pixels(images.load_from_folder(self.folder, from_text(path))[0])
        return _encoded(pixels), look(pixels)


def thumbnail(data: bytes) -> bytes:
    """Makes a small JPEG of an image, upright, with its aspect ratio.

    Args:
        data: the file's content; of a damaged JPEG the part that can be decoded is used.

    Raises:
        ImageError: it cannot be read.
    """
    return _encoded(_pixels(data))


def look(pixels: Pixels) -> Look:
    """Sums up what a picture looks like.

    Args:
        pixels: uint8 [H, W, 3], RGB.
    """
    small = _means(_means(pixels.mean(axis=2), _ROWS, axis=0), _COLUMNS + 1, axis=1)
    bits = np.packbits(small[:, 1:] > small[:, :-1]).tobytes()
    return Look(int.from_bytes(bits), tuple(pixels.mean(axis=(0, 1)).tolist()))


def _means(values: Any, count: int, axis: int) -> Any:
    """Means of ``count`` equal spans along an axis; a short axis repeats its values."""
    length = values.shape[axis]
    starts = np.arange(count) * length // count
    lengths = np.maximum(1, np.diff(np.append(starts, length)))
    sums = np.add.reduceat(values, starts, axis=axis)
    return sums / (lengths[:, None] if axis == 0 else lengths[None, :])


def _pixels(data: bytes) -> Pixels:
    height, width = images.size(data)
    ratio = min(1.0, _WIDTH / width, _HEIGHT / height)
    spec = ImageSpec(height=max(1, round(height * ratio)), width=max(1, round(width * ratio)))
    return images.read(data, spec, lenient=True)


def _encoded(pixels: Pixels) -> bytes:
    return bytes(simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling="420"))
