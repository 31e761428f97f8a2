"""The page of ``boatinfer evaluate``: a run's predictions against the ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from boatinfer.analysis.evaluate import EvaluationResult
from boatinfer.analysis.evaluation import Evaluation
from boatinfer.pages import page
from boatinfer.pages.charts import Curve, chart
from boatinfer.pages.matrix import Matrix
from boatinfer.pages.thumbnails import Album

__all__ = ["write"]

#: Thumbnails of each pair of confused classes.
_PICTURES = 6


def write(file: Path, result: EvaluationResult) -> None:
    """Writes the page.

    Raises:
        OutputError: it could not be written.
    """
    album = Album(result.run.folder)
    evaluations = [("Network", result.network), ("SVM", result.svm)]
    page.write(
        file,
        "evaluation.html",
        run=result.run,
        left_out=result.left_out,
        abstention=result.abstention,
        parts=[
            _part(name, evaluation, album)
            for name, evaluation in evaluations
            if evaluation is not None
        ],
    )


def _part(name: str, evaluation: Evaluation, album: Album) -> dict[str, Any]:
    document = evaluation.document()
    pairs = list(_pairs(evaluation, document["confused"], album))
    anchors = {
        (pair["truth"], pair["predicted"]): f"{name}-pair-{number}"
        for number, pair in enumerate(pairs, 1)
    }
    return {
        "name": name,
        **document,
        "classes": _worst_first(document["classes"]),
        "most": max(max(c["images"], c["predicted"]) for c in document["classes"].values()),
        "matrix": Matrix.from_counts(list(evaluation.classes), document["confusion"], anchors),
        "pairs": pairs,
        **(_confidence_values(evaluation, document) if evaluation.confidence else {}),
    }


def _worst_first(classes: Mapping[str, Any]) -> dict[str, Any]:
    """The classes by F1, those without any at the end."""
    return dict(sorted(classes.items(), key=lambda entry: (entry[1]["f1"] is None, entry[1]["f1"])))


def _pairs(
    evaluation: Evaluation, confused: Sequence[Mapping[str, Any]], album: Album
) -> Iterator[dict[str, Any]]:
    confidences = (
        {}
        if evaluation.confidence is None
        else dict(zip(evaluation.paths, evaluation.confidence.confidence.tolist(), strict=True))
    )
    for pair in confused:
        rows = [
            {"path": path, "confidence": confidences.get(path), "label": pair["predicted"]}
            for path in pair["paths"][:_PICTURES]
        ]
        yield {**pair, "pictures": album.pictures(rows)}


def _confidence_values(evaluation: Evaluation, document: Mapping[str, Any]) -> dict[str, Any]:
    bins = [entry for entry in document["calibration"] if entry["images"]]
    confidences, accuracies = (
        [entry[name] for entry in bins] for name in ("confidence", "accuracy")
    )
    curve = document["risk_coverage"]
    abstained = [1 - point["coverage"] for point in curve]
    calibration = chart(
        Curve(confidences, accuracies, "these images"),
        description="Accuracy by confidence; the table next to it has the same figures.",
        x="mean confidence",
        y="accuracy",
        reference=Curve([0, 1], [0, 1], "perfect calibration"),
        points=True,
    )
    risk = chart(
        Curve(abstained, [point["accuracy"] for point in curve], "accuracy of the rest"),
        description="Accuracy of the rest by the share for manual review; the table has figures.",
        x="share for manual review, the least confident first",
        y="accuracy of the rest",
    )
    return {
        "calibration_curve": calibration,
        "calibration": bins,
        "risk_curve": risk,
        "coverage_points": evaluation.coverage_points,
    }
