"""What a run classified anew: counts of classes and of confidences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "Mix"]

#: Spans of equal width, from 0 to 1, that confidences are counted in.
BINS = 20


class Mix(msgspec.Struct, kw_only=True):
    """What a run classified anew.

    Attributes:
        images: how many.
        labels: how many of each class.
        confidences: how many in each of `BINS` spans of the confidence, from 0 to 1.
        mean_confidence: null where there are no images.
    """

    images: int = 0
    labels: dict[str, int] = {}
    confidences: list[int] = []
    mean_confidence: float | None = None

    @classmethod
    def of(cls, some: Iterable[tuple[Mapping[str, int], npt.NDArray[np.floating]]]) -> Mix:
        """Sums up images: counts of their classes and confidences, float [N], of some at a time."""
        labels: Counter[str] = Counter()
        counts, total = np.zeros(BINS, np.int64), 0.0
        for classes, confidences in some:
            labels.update(classes)
            counts += np.histogram(confidences, bins=BINS, range=(0, 1))[0]
            total += float(confidences.sum(dtype=np.float64))
        images = int(counts.sum())
        return cls(
            images=images,
            labels=dict(sorted(labels.items())),
            confidences=counts.tolist(),
            mean_confidence=round(total / images, 6) if images else None,
        )
