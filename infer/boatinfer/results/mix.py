"""The distribution of a run's new predictions: counts of classes and of confidences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "Mix"]

#: Number of bins of equal width, from 0 to 1, in the histogram of confidences.
BINS = 20


class Mix(msgspec.Struct, kw_only=True):
    """The distribution of a run's new predictions.

    Attributes:
        images: number of images.
        labels: number of images of each predicted class.
        confidences: histogram of the confidence, `BINS` bins from 0 to 1.
        mean_confidence: null if there are no images.
    """

    images: int = 0
    labels: dict[str, int] = {}
    confidences: list[int] = []
    mean_confidence: float | None = None

    @classmethod
    def from_batches(
        cls, batches: Iterable[tuple[Mapping[str, int], npt.NDArray[np.floating]]]
    ) -> Mix:
        """Sums up batches: counts of predicted classes, and confidences, float [N], of each."""
        labels: Counter[str] = Counter()
        counts, total = np.zeros(BINS, np.int64), 0.0
        for classes, confidences in batches:
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
