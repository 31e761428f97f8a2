"""The page of an evaluation: how good a run's predictions are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from boatinfer.analysis.evaluate import Evaluated
from boatinfer.analysis.evaluation import Evaluation
from boatinfer.pages import page
from boatinfer.pages.charts import Curve, chart
from boatinfer.pages.matrix import Matrix
from boatinfer.pages.thumbnails import Album

__all__ = ["write"]

#: Pictures of each pair of classes that are confused.
_PICTURES = 6


def write(file: Path, evaluated: Evaluated) -> None:
    """Writes the page.

    Raises:
        OutputError: it could not be written.
    """
    album = Album(evaluated.run.folder)
    found = [("Network", evaluated.network), ("SVM", evaluated.svm)]
    page.write(
        file,
        "evaluation.html",
        run=evaluated.run,
        left_out=evaluated.left_out,
        abstention=evaluated.abstention,
        parts=[_part(name, of, album) for name, of in found if of is not None],
    )


def _part(name: str, of: Evaluation, album: Album) -> dict[str, Any]:
    document = of.document()
    return {
        "name": name,
        **document,
        "most": max(max(c["images"], c["predicted"]) for c in document["classes"].values()),
        "matrix": Matrix.of(list(of.classes), document["confusion"]),
        "pairs": list(_pairs(of, document["confused"], album)),
        **(_by_confidence(of, document) if of.confidence else {}),
    }


def _pairs(
    of: Evaluation, confused: Sequence[Mapping[str, Any]], album: Album
) -> Iterator[dict[str, Any]]:
    sure = (
        {}
        if of.confidence is None
        else dict(zip(of.paths, of.confidence.confidence.tolist(), strict=True))
    )
    for pair in confused:
        rows = [{"path": path, "confidence": sure.get(path)} for path in pair["paths"][:_PICTURES]]
        yield {**pair, "pictures": album.pictures(rows)}


def _by_confidence(of: Evaluation, document: Mapping[str, Any]) -> dict[str, Any]:
    bins = [each for each in document["calibration"] if each["images"]]
    sure, right = ([each[name] for each in bins] for name in ("confidence", "accuracy"))
    curve = document["risk_coverage"]
    left = [1 - point["coverage"] for point in curve]
    calibration = chart(
        Curve(sure, right, "these images"),
        says="Accuracy by confidence; the table beside has the same figures.",
        x="mean confidence",
        y="share that is right",
        beside=Curve([0, 1], [0, 1], "if confidence were accuracy"),
        points=True,
    )
    risk = chart(
        Curve(left, [point["accuracy"] for point in curve], "accuracy of the rest"),
        says="Accuracy of the rest by the share left to people; the table beside has figures.",
        x="share left to people, the least confident first",
        y="share of the rest that is right",
    )
    return {
        "calibration_curve": calibration,
        "calibration": bins,
        "risk_curve": risk,
        "kept": of.kept,
    }
