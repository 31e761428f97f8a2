"""Mean and covariance of features, of a random projection to a few axes."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.results.store.parts import Parts, RowMasks
from boatinfer.results.store.rows import OK, matrix

__all__ = ["AXES", "Moments", "new_moments", "projected", "sub_folders"]

Floats = npt.NDArray[np.float64]

#: Axes that features are projected to, at most.
AXES = 16
#: Significant digits in run.json.
_DIGITS = 6


class Moments(msgspec.Struct, kw_only=True):
    """The first two moments of the features of some images, projected to D axes.

    Attributes:
        images: how many.
        mean: of each axis, [D].
        covariance: with the divisor N - 1; row by row the part up to the diagonal,
            [D (D + 1) / 2], or the diagonal alone, [D].
    """

    images: int
    mean: list[float]
    covariance: list[float]

    def matrix(self) -> Floats:
        """The covariance, [D, D]; zero off the diagonal where only that is known."""
        axes = len(self.mean)
        if len(self.covariance) == axes:
            return np.diag(np.array(self.covariance, np.float64))
        lower = np.zeros((axes, axes))
        lower[np.tril_indices(axes)] = self.covariance
        return np.asarray(lower + np.tril(lower, -1).T)


class _Accumulator:
    """Adds up moments, batch by batch: Chan, Golub and LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979.
    """  # noqa: D205

    def __init__(self, axes: int) -> None:
        self.images = 0
        self._mean, self._squares = np.zeros(axes), np.zeros((axes, axes))

    def add(self, points: Floats) -> None:
        """Adds points [N, D]."""
        count, mean = len(points), points.mean(axis=0)
        centred, difference = points - mean, mean - self._mean
        total = self.images + count
        self._squares += centred.T @ centred
        self._squares += np.outer(difference, difference) * (self.images * count / total)
        self._mean += difference * (count / total)
        self.images = total

    def moments(self, diagonal: bool) -> Moments:
        """The moments, rounded; of the covariance the diagonal alone if asked for."""
        covariance = self._squares / max(1, self.images - 1)
        lower = np.diag(covariance) if diagonal else covariance[np.tril_indices(len(covariance))]
        return Moments(
            images=self.images,
            mean=[*map(_rounded, self._mean)],
            covariance=[*map(_rounded, lower)],
        )


def projected(features: npt.NDArray[np.float32]) -> Floats:
    """Projects features [N, F] to at most `AXES` random axes, [N, D].

    The axes are the same for all runs: normal random directions, which roughly keep distances
    (Johnson and Lindenstrauss, 1984).
    """
    dimension = features.shape[1]
    if dimension <= AXES:
        return features.astype(np.float64)
    return np.asarray(features.astype(np.float64) @ _axes(dimension))


@functools.cache
def _axes(dimension: int) -> Floats:
    directions = np.random.Generator(np.random.PCG64(dimension)).standard_normal((dimension, AXES))
    return np.asarray(directions / np.sqrt(dimension))


def new_moments(
    parts: Parts, rows: Iterable[RowMasks], new_runs: list[str], folders: Iterable[str]
) -> tuple[Moments | None, dict[str, Moments]]:
    """Moments of the features of the new images; reads the features of no others.

    Args:
        parts: the parts.
        rows: masks of the rows of all images found.
        new_runs: the runs whose images are new.
        folders: sub-folders to tell apart.

    Returns:
        The moments of all new images, None if none has features or some are infinite, and those
        of the sub-folders.

    Raises:
        OutputError: a part is damaged.
    """
    whole: _Accumulator | None = None
    by_folder: dict[str, _Accumulator] = {name: _Accumulator(0) for name in folders}
    for table in _new_rows(parts, rows, new_runs):
        points = projected(matrix(table["features"]))
        if not np.isfinite(points).all():  # JSON has no word for them
            return None, {}
        whole = whole or _Accumulator(points.shape[1])
        whole.add(points)
        names = sub_folders(table["path"]).dictionary_encode().combine_chunks()
        codes = pc.fill_null(names.indices, -1).to_numpy()
        for code, name in enumerate(names.dictionary.to_pylist()):
            if name in by_folder:
                if not by_folder[name].images:
                    by_folder[name] = _Accumulator(points.shape[1])
                by_folder[name].add(points[codes == code])
    return (
        None if whole is None else whole.moments(diagonal=False),
        {name: sums.moments(diagonal=True) for name, sums in by_folder.items() if sums.images},
    )


def _new_rows(parts: Parts, rows: Iterable[RowMasks], new_runs: list[str]) -> Iterator[pa.Table]:
    """``path`` and ``features`` of the new images that have them, part by part."""
    wanted = pa.array(new_runs, pa.string())
    for masks in rows:
        for number, mask in masks.items():
            for table in parts.read_masked({number: mask}, ["status", "run"]):
                new = pc.and_(pc.equal(table["status"], OK), pc.is_in(table["run"], wanted))
                chosen = np.flatnonzero(mask)[new.to_numpy()]
                yield from _features(parts, number, chosen)


def _features(parts: Parts, number: int, rows: npt.NDArray[np.int64]) -> Iterator[pa.Table]:
    if not len(rows):
        return
    mask = np.zeros(int(rows[-1]) + 1, np.bool_)
    mask[rows] = True
    for table in parts.read_masked({number: mask}, ["path", "features"]):
        if "features" in table.column_names:
            with_features = table.filter(pc.is_valid(table["features"]))
            if with_features.num_rows:
                yield with_features


def sub_folders(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """The first-level sub-folder of each path; null for images beside them, and absolute paths."""
    inside = pc.match_substring_regex(paths, "^[^/]+/")
    return pc.if_else(inside, pc.replace_substring_regex(paths, "(?s)/.*$", ""), None)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
