"""Thumbnails inside a page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import simplejpeg

from boatinfer import images
from boatinfer.errors import ImageError
from boatinfer.images.spec import ImageSpec
from boatinfer.pages.page import address, cost
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place
from boatinfer.text import from_text

__all__ = ["Album", "Picture", "thumbnail"]

#: Largest width and height of a thumbnail, pixels.
_WIDTH, _HEIGHT = 240, 160
_QUALITY = 75
#: Bytes that the thumbnails of a page take at most.
_BUDGET = 1_600_000


class Picture(NamedTuple):
    """An image on a page.

    Attributes:
        path: its path as text.
        address: its URL.
        source: the thumbnail as a data URI; None if it could not be made.
        missing: the reason why there is none.
        row: the row that it was made from.
    """

    path: str
    address: str
    source: str | None
    missing: str
    row: Mapping[str, Any]


class Album:
    """Makes the thumbnails of one page, up to a total size.

    Args:
        folder: the folder that paths are relative to, as text.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._text = place(from_text(folder)), folder
        self._bytes_left = _BUDGET

    def pictures(self, rows: Iterable[Mapping[str, Any]]) -> list[Picture]:
        """Makes a picture of each row's ``path``, until the page is full."""
        rows = list(rows)
        pictures = []
        for row, result in zip(rows, self._thumbnails(rows), strict=True):
            link = address(row["path"], self._text)
            source, missing = None, ""
            if isinstance(result, ImageError):
                missing = str(result)
            else:
                source = f"data:image/jpeg;base64,{b64encode(result).decode()}"
            self._bytes_left -= len(source or "") + cost(row["path"], link)
            if self._bytes_left < 0:
                break
            pictures.append(Picture(row["path"], link, source, missing, row))
        return pictures

    def _thumbnails(self, rows: list[Mapping[str, Any]]) -> list[bytes | ImageError]:
        if not rows:
            return []
        with images.IsolatedReader(_Thumbnail(self._folder)) as reader:
            return reader.map([row["path"] for row in rows])


@dataclass(frozen=True)
class _Thumbnail:
    """Makes the thumbnail of an image; runs in a worker process.

    Attributes:
        folder: the folder that paths are relative to.
    """

    folder: Place

    def __call__(self, path: str) -> bytes:
        return thumbnail(images.load_from_folder(self.folder, from_text(path))[0])


def thumbnail(data: bytes) -> bytes:
    """Makes a small JPEG of an image, upright, with its aspect ratio.

    Args:
        data: the file's content; of a damaged JPEG the part that can be decoded is used.

    Raises:
        ImageError: it cannot be read.
    """
    height, width = images.size(data)
    ratio = min(1.0, _WIDTH / width, _HEIGHT / height)
    spec = ImageSpec(height=max(1, round(height * ratio)), width=max(1, round(width * ratio)))
    pixels = images.read(data, spec, lenient=True)
    return bytes(simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling="420"))
