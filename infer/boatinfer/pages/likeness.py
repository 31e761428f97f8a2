"""The pages of ``boatinfer similar``: nearest images, distances, and duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boatinfer.analysis.options import Metric
from boatinfer.analysis.similar import Duplicates, Nearest, Pairs
from boatinfer.i18n import ENGLISH, Language
from boatinfer.pages import page
from boatinfer.pages.thumbnails import Album

__all__ = ["write"]

#: Groups of copies that are shown, and images of each, at most.
_GROUPS, _COPIES = 50, 6


def write(file: Path, answer: Nearest | Pairs | Duplicates, language: Language = ENGLISH) -> None:
    """Writes the page of a result.

    Raises:
        OutputError: it could not be written.
    """
    if isinstance(answer, Nearest):
        template, values = "nearest.html", _nearest(answer)
    elif isinstance(answer, Pairs):
        template, values = "pairs.html", _pairs(answer)
    else:
        template, values = "duplicates.html", _duplicates(answer)
    distance = _distance(answer.metric, language)
    page.write(file, template, language, answer=answer, by_distance=distance, **values)


def _distance(metric: Metric, language: Language) -> str:
    if metric is Metric.COSINE:
        return language.gettext("The distance is the cosine distance between features.")
    return language.gettext("The distance is the Euclidean distance between features.")


def _nearest(answer: Nearest) -> dict[str, Any]:
    album = Album(answer.folder)
    return {
        "query": album.pictures([{"path": answer.file}]),
        "pictures": album.pictures(answer.matches.to_pylist()),
    }


def _pairs(answer: Pairs) -> dict[str, Any]:
    rows = [{"path": file, "number": i} for i, file in enumerate(answer.files, 1)]
    largest = float(answer.distances.max()) or 1.0
    return {"pictures": Album(answer.folder).pictures(rows), "largest": largest}


def _duplicates(answer: Duplicates) -> dict[str, Any]:
    album = Album(answer.folder)
    groups = [
        {"count": len(group), "pictures": album.pictures({"path": p} for p in group[:_COPIES])}
        for group in answer.copies[:_GROUPS]
    ]
    closest = [
        {**pair, "pictures": album.pictures({"path": pair[key]} for key in ("path", "other"))}
        for pair in answer.closest.to_pylist()
    ]
    return {"groups": groups, "closest": closest}
