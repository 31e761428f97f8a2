"""Small pictures inside a page."""

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

#: Pixels that a thumbnail has at most.
_WIDTH, _HEIGHT = 240, 160
_QUALITY = 75
#: Bytes that the pictures of a page take at most.
_BUDGET = 1_600_000


class Picture(NamedTuple):
    """An image on a page.

    Attributes:
        path: text of its path.
        address: where it is.
        source: the thumbnail as a data URI; None where there is none.
        missing: why there is none.
        row: what else is said of it.
    """

    path: str
    address: str
    source: str | None
    missing: str
    row: Mapping[str, Any]


class Album:
    """The pictures of one page, within the room that it has for them.

    Args:
        folder: text of the folder that paths are relative to.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._text = place(from_text(folder)), folder
        self._room = _BUDGET

    def pictures(self, rows: Iterable[Mapping[str, Any]]) -> list[Picture]:
        """Makes a picture of each row's ``path``; fewer where the page has no room for more."""
        chosen = list(rows)
        found = []
        for row, made in zip(chosen, self._thumbnails(chosen), strict=True):
            link = address(row["path"], self._text)
            source, missing = None, ""
            if isinstance(made, ImageError):
                missing = str(made)
            else:
                source = f"data:image/jpeg;base64,{b64encode(made).decode()}"
            self._room -= len(source or "") + cost(row["path"], link)
            if self._room < 0:
                break
            found.append(Picture(row["path"], link, source, missing, row))
        return found

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
    """Makes a small JPEG of an image, upright, in its own proportions.

    Args:
        data: the file's content; of a damaged JPEG what can be decoded is shown.

    Raises:
        ImageError: it cannot be read.
    """
    height, width = images.size(data)
    ratio = min(1.0, _WIDTH / width, _HEIGHT / height)
    spec = ImageSpec(height=max(1, round(height * ratio)), width=max(1, round(width * ratio)))
    pixels = images.read(data, spec, lenient=True)
    return bytes(simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling="420"))
