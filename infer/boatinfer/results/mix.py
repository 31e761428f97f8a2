"""What is new in a run: counts of images, classes and confidences, and moments of features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from boatinfer.results.moments import Moments

__all__ = ["BINS", "FolderMix", "Mix", "histogram"]

#: Number of bins of equal width, from 0 to 1, in the histogram of confidences.
BINS = 20


def histogram(confidences: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Counts of confidences [N] in `BINS` bins from 0 to 1."""
    return np.histogram(confidences, bins=BINS, range=(0, 1))[0].astype(np.int64)


class FolderMix(msgspec.Struct, kw_only=True):
    """The new images of one sub-folder that were classified.

    Attributes:
        classes: as of `Mix`.
        confidences: likewise.
        mean_confidence: likewise.
        features: likewise, without covariances between axes.
    """

    classes: dict[str, int] = {}
    confidences: list[int] = []
    mean_confidence: float = 0.0
    features: Moments | None = None


class Mix(msgspec.Struct, kw_only=True):
    """The images that are new in a run.

    Attributes:
        found: number of new images: ``classified`` and ``failed``.
        classified: number of those that were classified.
        failed: number of those that failed.
        labels: number of images of each label of predictions.csv.
        classes: number of images of each class that the network predicted, also below the
            abstention threshold.
        confidences: histogram of the confidence, `BINS` bins from 0 to 1.
        mean_confidence: null if no new image was classified.
        novelties: histogram of the novelty, `BINS` bins from 0 to 1; empty if the model has none.
        mean_novelty: null likewise.
        images: as ``classified``, which older files lack.
        features: moments of the features; null without them.
        folders: of the first-level sub-folders with most new images,
            `boatinfer.results.folder_mixes`.
    """

    found: int = 0
    classified: int = 0
    failed: int = 0
    labels: dict[str, int] = {}
    classes: dict[str, int] = {}
    confidences: list[int] = []
    mean_confidence: float | None = None
    novelties: list[int] = []
    mean_novelty: float | None = None
    images: int = 0
    features: Moments | None = None
    folders: dict[str, FolderMix] = {}

    def __post_init__(self) -> None:
        """Fills in what older files lack."""
        if self.images and not self.classified:
            self.classified = self.images
            self.found = self.images + self.failed
            self.classes = self.labels

    @classmethod
    def from_batches(
        cls,
        batches: Iterable[tuple[Mapping[str, int], Mapping[str, int], npt.NDArray[np.floating]]],
        failed: int = 0,
    ) -> Mix:
        """Sums up batches.

        Args:
            batches: of each the counts of labels, those of predicted classes, and the
                confidences, float [N].
            failed: number of new images that failed.
        """
        labels: Counter[str] = Counter()
        classes: Counter[str] = Counter()
        counts, total = np.zeros(BINS, np.int64), 0.0
        for batch_labels, batch_classes, confidences in batches:
            labels.update(batch_labels)
            classes.update(batch_classes)
            counts += histogram(confidences)
            total += float(confidences.sum(dtype=np.float64))
        classified = int(counts.sum())
        return cls(
            found=classified + failed,
            classified=classified,
            failed=failed,
            labels=dict(sorted(labels.items())),
            classes=dict(sorted(classes.items())),
            confidences=counts.tolist(),
            mean_confidence=round(total / classified, 6) if classified else None,
            images=classified,
        )

    def with_novelty(self, batches: Iterable[npt.NDArray[np.floating]]) -> Mix:
        """A copy with the novelties of the images, float [N] in each batch; NaN where unknown."""
        counts, total = np.zeros(BINS, np.int64), 0.0
        for values in batches:
            there = values[~np.isnan(values)]
            counts += histogram(there)
            total += float(there.sum(dtype=np.float64))
        images = int(counts.sum())
        if not images:
            return self
        return msgspec.structs.replace(
            self, novelties=counts.tolist(), mean_novelty=round(total / images, 6)
        )

    def with_features(self, whole: Moments | None, folders: Mapping[str, Moments]) -> Mix:
        """A copy with moments of the features of the whole and of its sub-folders."""
        return msgspec.structs.replace(
            self,
            features=whole,
            folders={
                name: msgspec.structs.replace(its, features=folders.get(name))
                for name, its in self.folders.items()
            },
        )
