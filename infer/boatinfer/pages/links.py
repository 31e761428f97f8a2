"""Addresses of images and of files of the results folder, for the links of a page."""

from __future__ import annotations

import os
import posixpath
from urllib.parse import quote_from_bytes, urlsplit

from boatinfer.pages.page import ROOT, address
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place, resolve
from boatinfer.text import from_text

__all__ = ["Links", "rooted"]


class Links:
    """Makes the addresses of images.

    They are relative to the results folder, with `ROOT` before them, where the images are on the
    same disk or in the same bucket, so that both can be moved or served together.

    Args:
        folder: absolute path of the folder of images, as text.
        out: the results folder.
        prefix: an address that replaces that of the folder of images; None for none.
    """

    def __init__(self, folder: str, out: Place, prefix: str | None = None) -> None:
        self._folder = folder
        if prefix is None:
            relative = _relative(folder, out)
            self._base = None if relative is None else f"{ROOT}{relative}"
        else:
            self._base = prefix.rstrip("/")

    def __call__(self, path: str) -> str:
        """The address of an image.

        Args:
            path: its path as text, relative to the folder or absolute.
        """
        if self._base is None or os.path.isabs(path):  # noqa: PTH117
            return address(path, self._folder)
        return f"{self._base}/{quote_from_bytes(os.fsencode(from_text(path)))}"


def rooted(page: str, way: str) -> str:
    """Puts the way from a page to the results folder into its links.

    Args:
        page: the rendered page.
        way: empty for a page in the results folder itself, else it ends in a slash.
    """
    return page.replace(ROOT, way)


def _relative(folder: str, out: Place) -> str | None:
    """The way from the results folder to the images; None if there is no relative one."""
    start, target = (urlsplit(resolve(at).as_uri()) for at in (out, place(from_text(folder))))
    if start[:2] != target[:2]:
        return None
    way = posixpath.relpath(target.path or "/", start.path or "/")
    return way if way.split("/")[0] in {".", ".."} else f"./{way}"
