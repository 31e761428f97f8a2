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
    """

    images: int
    labelled: int = 0
    correct: int = 0
    left_out: int = 0
    unanswered: int = 0

    @property
    def accuracy(self) -> float | None:
        """Share of the sample that is right; None without a sample."""
        return self.correct / self.labelled if self.labelled else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the accuracy on all images; None without a sample.

        Wilson's, with the effective number of labels of a sample without replacement from a finite
        population (Cochran, Sampling Techniques, 1977, section 2.6).
        """
        if not self.labelled:
            return None
        others = max(self.images - self.left_out - self.labelled, 0)
        share = self.correct / self.labelled
        if not others:
            return share, share
        factor = (others + self.labelled - 1) / others
        counts = np.array([self.correct]) * factor, np.array([self.labelled]) * factor
        low, high = wilson(*counts)[:, 0]
        return float(low), float(high)

    @property
    def more(self) -> int | None:
        """About how many more labels bring the interval within one point; None without a sample."""
        ends = self.interval
        if ends is None:
            return None
        if (ends[1] - ends[0]) / 2 <= _AIM:
            return 0
        share = (self.correct + _Z * _Z / 2) / (self.labelled + _Z * _Z)
        unlimited = _Z * _Z * share * (1 - share) / _AIM**2
        needed = unlimited / (1 + (unlimited - 1) / max(self.images, 1))
        return max(1, math.ceil(needed) - self.labelled)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "labelled": self.labelled,
            "correct": self.correct,
            "left_out": self.left_out,
            "unanswered": self.unanswered,
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
    for row, answer in zip(rows.tolist(), said, strict=True):
        if places[row] <= last:
            counts[_state(answer.label, predicted[row].as_py())] += 1
    return Estimate(
        images=len(places),
        labelled=counts["right"] + counts["wrong"],
        correct=counts["right"],
        left_out=counts["left out"],
        unanswered=int((places <= last).sum()) - counts.total(),
    )


def _state(label: str, predicted: str) -> str:
    """What an answer says of a prediction: that it is right, wrong, or nothing."""
    if label in {SEVERAL, CANNOT_TELL}:
        return "left out"
    return "right" if label == predicted else "wrong"
