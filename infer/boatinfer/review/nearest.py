"""The training images nearest to an image, by the features of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis import neighbours
from boatinfer.analysis.options import Metric
from boatinfer.analysis.truth import from_folders
from boatinfer.errors import UsageError
from boatinfer.models.inference import Floats
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.store.rows import has_vectors, matrix
from boatinfer.storage.base import Place

__all__ = ["Training"]

#: Training images that are shown.
_SHOWN = 4


class Training:
    """Finds the nearest training images.

    Args:
        out: results folder of the training images, run with features.
        results: results folder of the images that are reviewed.

    Attributes:
        folder: text of the path of the folder of the training images.
        paths: string [T], paths of the training images.

    Raises:
        UsageError: one of the folders has no features, or they are of different models.
    """

    def __init__(self, out: Place, results: Results) -> None:
        training = find_results(out)
        run, own = training.last_finished(), results.last_finished()
        if run.model != own.model:
            raise UsageError(
                f"{out} and {results.out} are of different models, whose features cannot be "
                "compared; run the training images with the same model."
            )
        self.folder, self._results = run.folder, results
        parts = list(training.parts.read(training.current(), ["path", "features"]))
        if not parts or not all(has_vectors(part, "features") for part in parts):
            raise UsageError(f"{out} holds images without features; run again with --features.")
        self.paths = pa.concat_tables([part.select(["path"]) for part in parts])["path"]
        self._labels = from_folders(self.paths.combine_chunks())
        self._vectors = np.concatenate([matrix(part["features"]) for part in parts])
        self._current: pa.Table | None = None

    def nearest(self, path: str) -> list[dict[str, Any]]:
        """The training images nearest to an image, nearest first; none if it has no features."""
        query = next(self._features(path), None)
        if query is None:
            return []
        rows, distances = neighbours.nearest([self._vectors], query, _SHOWN, Metric.EUCLIDEAN)
        return [
            {
                "row": row,
                "path": self.paths[row].as_py(),
                "label": self._labels[row].as_py() or "",
                "distance": round(distance, 4),
            }
            for row, distance in zip(rows.tolist(), distances.tolist(), strict=True)
        ]

    def _features(self, path: str) -> Iterator[Floats]:
        if self._current is None:
            self._current = self._results.current()
        row = self._current.filter(pc.equal(self._current["path"], path))
        for part in self._results.parts.read(row, ["features"]):
            if has_vectors(part, "features"):
                yield from matrix(part["features"])
