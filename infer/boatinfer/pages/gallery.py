"""Pages of pictures, one for each class."""

from __future__ import annotations

from collections.abc import Mapping

from boatinfer.i18n import language_of
from boatinfer.pages import page
from boatinfer.pages.kept import KeptPages
from boatinfer.pages.links import Links
from boatinfer.pages.selection import LabelSample
from boatinfer.pages.thumbnails import Album
from boatinfer.results.summary import Summary
from boatinfer.results.tables.predictions import Tables

__all__ = ["gallery_pages", "write_gallery"]

#: Classes that get a page, at most, and pictures in one.
_PAGES, _PICTURES = 60, 300


def gallery_pages(summary: Summary, available: Mapping[str, int]) -> dict[str, str]:
    """The name of the page of each class; empty if the run was to write none.

    Args:
        summary: the run.
        available: number of images of each label.
    """
    if not summary.gallery:
        return {}
    labels = sorted(available, key=lambda label: (-available[label], label))
    return {label: f"{summary.run}.{i}.html" for i, label in enumerate(labels[:_PAGES], 1)}


def write_gallery(
    kept: KeptPages,
    summary: Summary,
    tables: Tables,
    available: Mapping[str, int],
    link: Links,
) -> None:
    """Writes a page of each class, of its new images or of a sample of them.

    Raises:
        OutputError: a page could not be written.
    """
    pages, language = gallery_pages(summary, available), language_of(summary.language)
    taken = {label: min(available[label], _PICTURES) for label in pages}
    sample = LabelSample(available, taken)
    for rows in tables.classified(new=True) if pages else ():
        sample.add(rows)
    for label, name in pages.items():
        rows = sample.rows(label)
        values = {
            "label": label,
            "total": available[label],
            "pictures": Album(summary.folder, link).pictures(rows),
            "pages": pages,
            "available": available,
        }
        kept.write(name, page.rendered("gallery.html", language, summary=summary, **values))
