"""Abstention: which predictions are left to people, and how sure a prediction must be.

Nothing that is recorded depends on the threshold, so that another one needs no inference.
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
from boatinfer.results.tables.predictions import UNSURE
from boatinfer.storage.documents import DocumentError, read_document

__all__ = ["Threshold", "advice", "find", "outcome", "required", "resolve_threshold"]

#: How sure one can be of the accuracy that a threshold is chosen for.
LEVEL = 0.95
#: Shares of the evaluated images that may be kept, largest first.
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
    """What is needed of the file of ``boatinfer evaluate --json``."""

    model: str
    network: _Network


class Threshold(NamedTuple):
    """From which confidence on a prediction counts, and what that rests on.

    Attributes:
        min_confidence: below this a prediction is unsure.
        target_accuracy: the accuracy it was chosen for; None where somebody set it.
        images: how many evaluated images are as confident; 0 where none were evaluated.
        right: how many of these are right.
        evaluated: how many images were evaluated.
    """

    min_confidence: float
    target_accuracy: float | None = None
    images: int = 0
    right: int = 0
    evaluated: int = 0


def resolve_threshold(
    model: str,
    classes: Sequence[str],
    *,
    min_confidence: float | None,
    target_accuracy: float | None,
    evaluation: Path | None,
) -> Threshold | None:
    """The threshold that a run's options ask for; None where every prediction counts.

    Args:
        model: SHA-256 of the model file, hex.
        classes: the model's.
        min_confidence: the threshold itself.
        target_accuracy: the accuracy to be shown, from 0 to 1.
        evaluation: a file that shows it, of ``boatinfer evaluate --json``.

    Raises:
        UsageError: the evaluation cannot be used, or does not show the accuracy asked for.
    """
    threshold = None
    if min_confidence is not None:
        threshold = Threshold(min_confidence)
    elif target_accuracy is not None and evaluation is not None:
        curve, images = _read(evaluation, model)
        threshold = find(curve, images, target_accuracy)
        if threshold is None:
            raise UsageError(
                f"{evaluation}: {_too_few(images, target_accuracy)}; evaluate more "
                "labelled images, or ask for less."
            )
    if threshold is not None and UNSURE in classes:
        raise UsageError(
            f"the model has a class {UNSURE!r} of its own, so nothing can be left to people under "
            "that name; rename the class."
        )
    return threshold


def find(curve: RiskCoverage, images: int, target: float) -> Threshold | None:
    """The threshold that keeps the most images and still shows an accuracy.

    The accuracy is shown where the lower end of the one-sided Clopper-Pearson interval
    ("The use of confidence or fiducial limits", 1934) of the images kept is not below it. Twenty
    coverages are tried, and their errors shared out after Bonferroni, so that the accuracy of
    the one that is chosen holds with a probability of 95 %.

    Args:
        curve: of the evaluated images.
        images: how many they are.
        target: the accuracy, between 0 and 1.

    Returns:
        None where the images do not show it at any threshold.
    """
    from scipy.stats import beta

    for coverage in _COVERAGES:
        place = curve.at(float(coverage))
        kept = round(float(curve.coverage[place]) * images)
        right = round(float(curve.accuracy[place]) * kept)
        lower = beta.ppf((1 - LEVEL) / len(_COVERAGES), right, kept - right + 1) if right else 0.0
        if lower >= target:
            return Threshold(float(curve.threshold[place]), target, kept, right, images)
    return None


def required(target: float) -> int:
    """How many images, all of them right, show an accuracy."""
    return math.ceil(math.log((1 - LEVEL) / len(_COVERAGES)) / math.log(target))


def advice(threshold: Threshold | None, images: int, target: float) -> str:
    """A sentence on what `find` found for a target accuracy among so many images."""
    if threshold is None:
        return f"Target accuracy {target:g}: {_too_few(images, target)}."
    return (
        f"Target accuracy {target:g}: leave what is less confident than "
        f"{threshold.min_confidence:.4f} to people, {_left(threshold)}, which shows it with a "
        f"probability of {100 * LEVEL:.0f} %."
    )


def outcome(threshold: Threshold) -> str:
    """A sentence on what a threshold made of the evaluated images."""
    share = ""
    if threshold.images:
        ends = metrics.wilson(np.array([threshold.right]), np.array([threshold.images]))[:, 0]
        accuracy = threshold.right / threshold.images
        share = f" ({accuracy:.4f}, 95 % interval {ends[0]:.4f} to {ends[1]:.4f})"
    return (
        f"Unsure in this run, with a confidence below {threshold.min_confidence:.4f}: "
        f"{_left(threshold)}{share}."
    )


def _left(threshold: Threshold) -> str:
    left = threshold.evaluated - threshold.images
    return (
        f"{left:,} of {threshold.evaluated:,} images; {threshold.right:,} of the other "
        f"{threshold.images:,} are right"
    )


def _too_few(images: int, target: float) -> str:
    least = required(target)
    return (
        f"{images:,} evaluated images do not show an accuracy of {target:g} at any confidence "
        f"(at least {least:,} that are all right would, or more with a few wrong)"
    )


def _read(file: Path, model: str) -> tuple[RiskCoverage, int]:
    """The risk-coverage curve of an evaluation, and how many images it is of."""
    try:
        found = read_document(file, _Evaluation)
    except FileNotFoundError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check its name.") from error
    except DocumentError as error:
        raise UsageError(
            f"{file} is no evaluation of a network ({error}); make one with 'boatinfer evaluate "
            "OUT --json'."
        ) from error
    if found.model != model:
        raise UsageError(
            f"{file} is an evaluation of another model ({found.model[:12]}, and this is "
            f"{model[:12]}); evaluate this one."
        )
    points = np.array([msgspec.structs.astuple(point) for point in found.network.risk_coverage])
    return RiskCoverage(*points.T), found.network.images
