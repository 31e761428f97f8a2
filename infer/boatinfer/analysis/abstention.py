"""Abstention: the confidence threshold below which images are left for manual review.

The recorded rows do not depend on the threshold, so another one needs no inference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from boatinfer.analysis import metrics
from boatinfer.analysis.metrics import RiskCoverage
from boatinfer.errors import UsageError
from boatinfer.i18n import ENGLISH, Language
from boatinfer.results.tables.predictions import UNSURE
from boatinfer.storage.documents import DocumentError, read_document

__all__ = [
    "Threshold",
    "describe_outcome",
    "describe_recommendation",
    "find_threshold",
    "images_required",
    "resolve_threshold",
]

#: Confidence level of the accuracy that a threshold is chosen for.
LEVEL = 0.95
#: Coverages that are tried, largest first.
_COVERAGES = np.arange(20, 0, -1) / 20


Share = Annotated[float, Meta(ge=0, le=1)]


class _Point(msgspec.Struct):
    """A point of a `RiskCoverage`, field by field."""

    threshold: Share
    coverage: Share
    accuracy: Share


class _Network(msgspec.Struct):
    images: Annotated[int, Meta(ge=1, le=2**53)]
    risk_coverage: Annotated[list[_Point], Meta(min_length=1)]


class _Evaluation(msgspec.Struct):
    """The fields that are read from a file of ``boatinfer evaluate --json``."""

    model: str
    network: _Network


class Threshold(NamedTuple):
    """An abstention threshold, and the evaluation that it is chosen from.

    Attributes:
        min_confidence: images with a lower confidence are labelled ``unsure``.
        target_accuracy: the accuracy it was chosen for; None if it was set by the user.
        images: number of evaluated images at least as confident; 0 if none were evaluated.
        correct: number of these that are classified correctly.
        evaluated: number of images evaluated.
    """

    min_confidence: float
    target_accuracy: float | None = None
    images: int = 0
    correct: int = 0
    evaluated: int = 0

    def document(self) -> dict[str, float | None]:
        """The fields, for JSON."""
        fields = self._asdict()
        return {"right" if name == "correct" else name: fields[name] for name in fields}


def resolve_threshold(
    model: str,
    classes: Sequence[str],
    *,
    min_confidence: float | None,
    target_accuracy: float | None,
    evaluation: Path | None,
) -> Threshold | None:
    """The threshold that a run's options ask for; None if there is none.

    Args:
        model: SHA-256 of the model file, hex.
        classes: the model's classes.
        min_confidence: the threshold itself.
        target_accuracy: the accuracy to choose a threshold for, from 0 to 1.
        evaluation: a file of ``boatinfer evaluate --json``, to choose it from.

    Raises:
        UsageError: the evaluation cannot be used, or does not show the target accuracy.
    """
    threshold = None
    if min_confidence is not None:
        threshold = Threshold(min_confidence)
    elif target_accuracy is not None and evaluation is not None:
        curve, images = _read(evaluation, model)
        threshold = find_threshold(curve, images, target_accuracy)
        if threshold is None:
            raise UsageError(
                f"{evaluation}: {_too_few_text(images, target_accuracy)}; evaluate more "
                "labelled images, or choose a lower target accuracy."
            )
    if threshold is not None and UNSURE in classes:
        raise UsageError(
            f"the model has a class {UNSURE!r} of its own, which is the label of images for manual "
            "review; rename the class."
        )
    return threshold


def find_threshold(curve: RiskCoverage, images: int, target: float) -> Threshold | None:
    """The threshold with the highest coverage that still shows a target accuracy.

    The accuracy is shown if the lower end of the one-sided Clopper-Pearson interval ("The use of
    confidence or fiducial limits", 1934) of the images kept is not below it. Twenty coverages are
    tried, with a Bonferroni correction, so that the accuracy at the chosen threshold holds with a
    probability of 95 %.

    Args:
        curve: risk-coverage curve of the evaluated images.
        images: number of evaluated images.
        target: the accuracy, between 0 and 1.

    Returns:
        The threshold; None if no threshold shows the accuracy.
    """
    for coverage in _COVERAGES:
        index = curve.index_of(float(coverage))
        covered = round(float(curve.coverage[index]) * images)
        correct = round(float(curve.accuracy[index]) * covered)
        error = (1 - LEVEL) / len(_COVERAGES)
        # The lower end is not below the target where this probability is not above the error.
        if metrics.binomial_tail(correct, covered, target) <= error:
            return Threshold(float(curve.threshold[index]), target, covered, correct, images)
    return None


def images_required(target: float) -> int:
    """The number of images, all classified correctly, that shows an accuracy."""
    return math.ceil(math.log((1 - LEVEL) / len(_COVERAGES)) / math.log(target))


def describe_recommendation(
    threshold: Threshold | None, images: int, target: float, language: Language = ENGLISH
) -> str:
    """A sentence on the result of `find_threshold`."""
    target_text = language.figure(target, 6)
    if threshold is None:
        return language.gettext(
            "Target accuracy %(target)s: %(reason)s.",
            target=target_text,
            reason=_too_few_text(images, target, language),
        )
    return language.gettext(
        "Target accuracy %(target)s: leave images with a confidence below %(threshold)s for manual "
        "review, %(counts)s, which shows it with a probability of %(probability)s.",
        target=target_text,
        threshold=language.decimal(threshold.min_confidence, 4),
        counts=_abstained_text(threshold, language),
        probability=language.percent(LEVEL),
    )


def describe_outcome(threshold: Threshold, language: Language = ENGLISH) -> str:
    """A sentence on the evaluated images below and above a run's threshold."""
    values = {
        "threshold": language.decimal(threshold.min_confidence, 4),
        "counts": _abstained_text(threshold, language),
    }
    if not threshold.images:
        return language.gettext(
            "Unsure in this run, with a confidence below %(threshold)s: %(counts)s.", **values
        )
    interval = metrics.wilson(np.array([threshold.correct]), np.array([threshold.images]))[:, 0]
    accuracy, (low, high) = threshold.correct / threshold.images, interval
    return language.gettext(
        "Unsure in this run, with a confidence below %(threshold)s: %(counts)s (%(accuracy)s, "
        "95 %% interval %(low)s to %(high)s).",
        accuracy=language.percent(accuracy),
        low=language.percent(low),
        high=language.percent(high),
        **values,
    )


def _abstained_text(threshold: Threshold, language: Language) -> str:
    return language.gettext(
        "%(abstained)s of %(evaluated)s images; %(correct)s of the other %(rest)s are correct",
        abstained=language.number(threshold.evaluated - threshold.images),
        evaluated=language.number(threshold.evaluated),
        correct=language.number(threshold.correct),
        rest=language.number(threshold.images),
    )


def _too_few_text(images: int, target: float, language: Language = ENGLISH) -> str:
    return language.gettext(
        "%(images)s evaluated images do not show an accuracy of %(target)s at any confidence (this "
        "needs at least %(least)s if all are correct, or more if a few are wrong)",
        images=language.number(images),
        target=language.figure(target, 6),
        least=language.number(images_required(target)),
    )


def _read(file: Path, model: str) -> tuple[RiskCoverage, int]:
    """Reads the risk-coverage curve of an evaluation, and its number of images."""
    try:
        document = read_document(file, _Evaluation)
    except FileNotFoundError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check its name.") from error
    except DocumentError as error:
        raise UsageError(
            f"{file} is no evaluation of a network ({error}); make one with 'boatinfer evaluate "
            "OUT --json'."
        ) from error
    if document.model != model:
        raise UsageError(
            f"{file} is an evaluation of another model ({document.model[:12]}, and this is "
            f"{model[:12]}); evaluate this model."
        )
    points = np.array([msgspec.structs.astuple(point) for point in document.network.risk_coverage])
    return RiskCoverage(*points.T), document.network.images
