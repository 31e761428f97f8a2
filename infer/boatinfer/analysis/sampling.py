"""How accurate a model is on all images, estimated from a random sample that a person labelled.

Images are put in a random order by the second half of the hash of their content, which does not
change when others come or go. The sample is all images up to the last one that was asked for at
random: also those that were labelled for another reason, for without them it would lack the hard
ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.metrics import wilson
from boatinfer.results.labels import CANNOT_TELL, SEVERAL, Answer
from boatinfer.text import counted, percent

__all__ = ["RANDOM", "Estimate", "estimate", "positions"]

#: Reasons of answers that were asked for in the random order.
RANDOM = ("random", "rest")
#: The width of half an interval that is aimed at.
_AIM = 0.01
_Z = NormalDist().inv_cdf(0.975)


def positions(contents: pa.Array) -> npt.NDArray[np.float64]:
    """The place of each content in the random order, float64 [N] in [0, 1).

    Args:
        contents: string [N], xxh3-128 in hex, without nulls.
    """
    digests = np.frombuffer(bytes.fromhex("".join(contents.to_pylist())), ">u8")
    return digests.reshape(-1, 2)[:, 1] / 2.0**64


@dataclass(frozen=True)
class Estimate:
    """The accuracy on all images, from a random sample of them.

    Attributes:
        images: number of images that the sample is of.
        labelled: number of images in the sample whose prediction is known to be right or wrong.
        correct: number of those that are right.
        left_out: number of images in the sample that show several things, or that nobody can tell.
        unanswered: number of images in the sample that were skipped.
        effective: number of independent labels that say as much as these, where several images
            are copies of one; None if all are different.
    """

    images: int
    labelled: int = 0
    correct: int = 0
    left_out: int = 0
    unanswered: int = 0
    effective: float | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of the sample that is right; None without a sample."""
        return self.correct / self.labelled if self.labelled else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the accuracy on all images; None without a sample.

        Wilson's, with the effective number of labels: of a sample without replacement from a
        finite population (Cochran, Sampling Techniques, 1977, section 2.6), in which copies of one
        image are one draw (Kish, Survey Sampling, 1965).
        """
        if not self.labelled:
            return None
        others = max(self.images - self.left_out - self.labelled, 0)
        share = self.correct / self.labelled
        if not others:
            return share, share
        factor = (others + self._independent - 1) / others * self._independent / self.labelled
        counts = np.array([self.correct]) * factor, np.array([self.labelled]) * factor
        low, high = wilson(*counts)[:, 0]
        whole = self.labelled + others  # of which the labelled ones are known
        return (
            max(float(low), self.correct / whole),
            min(float(high), (self.correct + others) / whole),
        )

    @property
    def _independent(self) -> float:
        return self.labelled if self.effective is None else self.effective

    @property
    def more(self) -> int | None:
        """About how many more labels bring the interval within one point; None without a sample."""
        ends = self.interval
        if ends is None:
            return None
        if (ends[1] - ends[0]) / 2 <= _AIM:
            return 0
        known = self._independent
        weight = known / self.labelled
        share = (weight * self.correct + _Z * _Z / 2) / (known + _Z * _Z)
        unlimited = _Z * _Z * share * (1 - share) / _AIM**2
        needed = unlimited / (1 + (unlimited - 1) / max(self.images - self.labelled + known, 1))
        return max(1, math.ceil(needed - known))

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "labelled": self.labelled,
            "correct": self.correct,
            "left_out": self.left_out,
            "unanswered": self.unanswered,
            "effective_labels": self._independent,
            "accuracy": self.accuracy,
            "accuracy_interval": self.interval,
            "more_labels": self.more,
        }

    def text(self) -> str:
        """A sentence."""
        ends, more = self.interval, self.more
        if not self.images:
            return "The last run had no new images to estimate the accuracy on."
        if ends is None or self.accuracy is None or more is None:
            return (
                f"No image of the random sample of {counted(self.images, 'image')} is labelled yet."
            )
        besides = [
            f"{count:,} {what}"
            for count, what in ((self.left_out, "left out"), (self.unanswered, "unanswered"))
            if count
        ]
        if self.effective is not None:
            besides.append(f"as much as {self.effective:,.0f} without copies")
        return (
            f"Accuracy on {counted(self.images, 'image')}: {percent(self.accuracy)} (95 % interval "
            f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %), from a random sample of "
            f"{self.labelled:,}{''.join(f', {text}' for text in besides)}; "
            + (
                "it is within 1 point."
                if not more
                else f"about {counted(more, 'more label')} until it is within 1 point."
            )
        )


def estimate(
    contents: pa.Array,
    places: npt.NDArray[np.float64],
    predicted: pa.Array,
    answers: Mapping[str, Answer],
) -> Estimate:
    """Estimates the accuracy on N images.

    Args:
        contents: string [N], xxh3-128 in hex.
        places: float64 [N], their `positions`.
        predicted: string [N], the predicted classes.
        answers: what people have said of contents.
    """
    named = pc.is_in(contents, value_set=pa.array(list(answers), pa.string()))
    rows = np.flatnonzero(named.to_numpy(zero_copy_only=False))
    said = [answers[contents[row].as_py()] for row in rows.tolist()]
    asked = [answer.reason in RANDOM for answer in said]
    if not any(asked):
        return Estimate(len(places))
    last = places[rows[asked]].max()
    counts: Counter[str] = Counter()
    copies: Counter[str] = Counter()
    for row, answer in zip(rows.tolist(), said, strict=True):
        if places[row] <= last:
            state = _state(answer.label, predicted[row].as_py())
            counts[state] += 1
            if state != "left out":
                copies[answer.content] += 1
    labelled, squares = copies.total(), sum(count**2 for count in copies.values())
    return Estimate(
        images=len(places),
        labelled=labelled,
        correct=counts["right"],
        left_out=counts["left out"],
        unanswered=int((places <= last).sum()) - counts.total(),
        effective=None if labelled == squares else labelled**2 / squares,
    )


def _state(label: str, predicted: str) -> str:
    """What an answer says of a prediction: that it is right, wrong, or nothing."""
    if label in {SEVERAL, CANNOT_TELL}:
        return "left out"
    return "right" if label == predicted else "wrong"
