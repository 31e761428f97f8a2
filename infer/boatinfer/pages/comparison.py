"""The page of a comparison: what two runs say of the same images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boatinfer.analysis.compare import Compared
from boatinfer.pages import page
from boatinfer.pages.matrix import Matrix
from boatinfer.pages.thumbnails import Album

__all__ = ["write"]

#: Pictures of each pair of classes that the two differ in.
_PICTURES = 8


def write(file: Path, compared: Compared) -> None:
    """Writes the page.

    Raises:
        OutputError: it could not be written.
    """
    document = compared.document()
    page.write(
        file,
        "comparison.html",
        **document,
        verdict=compared.verdict,
        matrix=Matrix.of(list(document["classes"]), document["confusion"]),
        pairs=list(_pairs(compared, document)),
    )


def _pairs(compared: Compared, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    album = Album(compared.runs[0].folder)
    truth = _truth(compared)
    for pair in document["disagreements"]:
        rows = [{"path": path, "truth": truth.get(path)} for path in pair["paths"][:_PICTURES]]
        yield {**pair, "pictures": album.pictures(rows)}


def _truth(compared: Compared) -> dict[str, str]:
    """The true class of each image that has one."""
    if compared.right is None:
        return {}
    one = compared.right[0]
    return {path: one.classes[i] for path, i in zip(one.paths, one.truth, strict=True)}
