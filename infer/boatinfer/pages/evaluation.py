"""The page of ``boatinfer evaluate``: a run's predictions against the ground truth."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from boatinfer.analysis.evaluate import EvaluationResult
from boatinfer.analysis.evaluation import Evaluation
from boatinfer.i18n import ENGLISH, Language
from boatinfer.pages import page
from boatinfer.pages.charts import Curve, chart
from boatinfer.pages.matrix import Matrix
from boatinfer.pages.thumbnails import Album

__all__ = ["write"]

#: Thumbnails of each pair of confused classes.
_PICTURES = 6


def write(file: Path, result: EvaluationResult, language: Language = ENGLISH) -> None:
    """Writes the page.

    Raises:
        OutputError: it could not be written.
    """
    album = Album(result.run.folder)
    evaluations = [
        ("network", language.gettext("Network"), result.network),
        ("svm", "SVM", result.svm),
    ]
    page.write(
        file,
        "evaluation.html",
        language,
        run=result.run,
        left_out=result.left_out(language),
        abstention=result.abstention(language),
        parts=[
            {"id": id_, "name": name, **_part(id_, evaluation, album, language)}
            for id_, name, evaluation in evaluations
            if evaluation is not None
        ],
    )


def _part(id_: str, evaluation: Evaluation, album: Album, language: Language) -> dict[str, Any]:
    document = evaluation.document()
    pairs = list(_pairs(evaluation, document["confused"], album))
    anchors = {
        (pair["truth"], pair["predicted"]): f"{id_}-pair-{number}"
        for number, pair in enumerate(pairs, 1)
    }
    return {
        **document,
        "classes": _worst_first(document["classes"]),
        "most": max(max(c["images"], c["predicted"]) for c in document["classes"].values()),
        "matrix": Matrix.from_counts(list(evaluation.classes), document["confusion"], anchors),
        "pairs": pairs,
        **(_confidence_values(evaluation, document, language) if evaluation.confidence else {}),
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


def _confidence_values(
    evaluation: Evaluation, document: Mapping[str, Any], language: Language
) -> dict[str, Any]:
    bins = [entry for entry in document["calibration"] if entry["images"]]
    confidences, accuracies = (
        [entry[name] for entry in bins] for name in ("confidence", "accuracy")
    )
    curve = document["risk_coverage"]
    abstained = [1 - point["coverage"] for point in curve]
    rest = language.gettext("accuracy of the rest")
    shown = functools.partial(language.figure, digits=4)
    calibration = chart(
        Curve(confidences, accuracies, language.gettext("these images")),
        description=language.gettext(
            "Accuracy by confidence; the table next to it has the same figures."
        ),
        x=language.gettext("mean confidence"),
        y=language.gettext("accuracy"),
        reference=Curve([0, 1], [0, 1], language.gettext("perfect calibration")),
        points=True,
        shown=shown,
    )
    risk = chart(
        Curve(abstained, [point["accuracy"] for point in curve], rest),
        description=language.gettext(
            "Accuracy of the rest by the share for manual review; the table has figures."
        ),
        x=language.gettext("share for manual review, the least confident first"),
        y=rest,
        shown=shown,
    )
    return {
        "calibration_curve": calibration,
        "calibration": bins,
        "risk_curve": risk,
        "coverage_points": evaluation.coverage_points,
    }
