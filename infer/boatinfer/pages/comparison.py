"""The page of ``boatinfer compare``: the predictions of two runs for the same images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boatinfer.analysis.compare import Comparison
from boatinfer.i18n import ENGLISH, Language
from boatinfer.pages import page
from boatinfer.pages.matrix import Matrix
from boatinfer.pages.thumbnails import Album

__all__ = ["write"]

#: Thumbnails of each pair of differing classes.
_PICTURES = 8


def write(file: Path, comparison: Comparison, language: Language = ENGLISH) -> None:
    """Writes the page.

    Raises:
        OutputError: it could not be written.
    """
    document = comparison.document()
    pairs = list(_pairs(comparison, document))
    anchors = {(pair["a"], pair["b"]): f"pair-{number}" for number, pair in enumerate(pairs, 1)}
    page.write(
        file,
        "comparison.html",
        language,
        **document,
        verdict=comparison.verdict(language),
        matrix=Matrix.from_counts(list(document["classes"]), document["confusion"], anchors),
        pairs=pairs,
    )


def _pairs(comparison: Comparison, document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    album = Album(comparison.runs[0].folder)
    truth = _truth(comparison)
    for pair in document["disagreements"]:
        rows = [{"path": path, "truth": truth.get(path)} for path in pair["paths"][:_PICTURES]]
        yield {**pair, "pictures": album.pictures(rows)}


def _truth(comparison: Comparison) -> dict[str, str]:
    """The true classes, by path, of the images that have one."""
    if comparison.evaluations is None:
        return {}
    evaluation = comparison.evaluations[0]
    return {
        path: evaluation.classes[i]
        for path, i in zip(evaluation.paths, evaluation.truth, strict=True)
    }
