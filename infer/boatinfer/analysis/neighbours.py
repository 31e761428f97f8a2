"""Exact nearest neighbours among feature vectors in blocks, in constant memory.

Both metrics are computed from squared Euclidean distances: the cosine distance is half the squared
distance between vectors of length one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from boatinfer.analysis.options import Metric
from boatinfer.models.inference import Floats

__all__ = ["closest_pairs", "distances", "matrix_of_distances", "nearest"]

Vectors = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float64]

#: Elements of a temporary array that fits into the processor's cache.
_CACHE_SIZE = 2**17
#: Rows of the tiles that pairs are compared in.
_TILE = 1024
#: Bytes of the vectors that are kept in memory while all others are read.
_RESIDENT_BYTES = 2**28
#: Largest error of a float32 product, relative to the squared lengths.
_TOLERANCE = 1e-5


def distances(block: Vectors, query: Vectors, metric: Metric) -> Distances:
    """Distances of each vector of a block from a query.

    A zero vector has no direction; its cosine distance from any other is 1/2.

    Args:
        block: float32 [N, D].
        query: float32 [D].
        metric: the distance.

    Returns:
        float64 [N].
    """
    query = _normalized(query[None], metric)[0]
    squared = np.empty(len(block), np.float64)
    rows = max(1, _CACHE_SIZE // len(query))
    for start in range(0, len(block), rows):
        rows_slice = slice(start, start + rows)
        differences = _normalized(block[rows_slice], metric) - query
        squared[rows_slice] = np.einsum("ij,ij->i", differences, differences)
    return _distance(squared, metric)


def matrix_of_distances(vectors: Floats, metric: Metric) -> Distances:
    """Distances of all pairs of a few vectors, float32 [N, D] to float64 [N, N]."""
    exact = vectors.astype(np.float64)
    return np.stack([distances(exact, vector, metric) for vector in exact])


def nearest(
    blocks: Iterable[Floats], query: Floats, k: int, metric: Metric
) -> tuple[Indices, Distances]:
    """Finds the k vectors nearest to a query.

    Args:
        blocks: float32 [N, D] each.
        query: float32 [D].
        k: number of neighbours; fewer are returned if there are fewer vectors.
        metric: the distance.

    Returns:
        Their indices, counted over all blocks, and distances, nearest first; of equal distances
        the earlier vector.
    """
    indices, best_distances = np.empty(0, np.int64), np.empty(0)
    offset = 0
    for block in blocks:
        indices = np.concatenate([indices, np.arange(offset, offset + len(block))])
        best_distances = np.concatenate([best_distances, distances(block, query, metric)])
        offset += len(block)
        order = _smallest(best_distances, k)
        indices, best_distances = indices[order], best_distances[order]
    return indices, best_distances


def closest_pairs(
    blocks: Callable[[int], Iterable[Floats]],
    k: int,
    metric: Metric,
    may_pair: Callable[[Indices, Indices], npt.NDArray[np.bool_]] | None = None,
) -> tuple[Indices, Distances]:
    """Finds the k pairs of vectors that are closest to each other.

    Every vector is compared with every other, by a matrix product in float32; those that may
    be among the k are then measured again, exactly.

    Args:
        blocks: a function that returns the blocks, float32 [N, D] each, of all vectors from an
            index on.
        k: number of pairs.
        metric: the distance.
        may_pair: takes int64 [N] and [M], indices of vectors, and returns which pairs count, bool
            [N, M]; None means all.

    Returns:
        int64 [K, 2], the indices of each pair, the smaller first, and their distances, float64 [K].
    """

    def normalized(start: int) -> Iterator[Floats]:
        return (_normalized(block, metric) for block in blocks(start))

    pairs, best_distances = np.empty((0, 2), np.int64), np.empty(0)
    for first, resident in _resident_blocks(normalized(0)):
        second = first
        for block in normalized(first):
            for rows, columns in _tiles(len(resident), len(block)):
                if first + rows.start >= second + columns.stop:
                    continue  # these pairs are compared in the opposite order
                bound = best_distances[-1] if len(best_distances) == k else np.inf
                start = np.array([first + rows.start, second + columns.start])
                row_numbers, column_numbers = (
                    begin + np.arange(tile.stop - tile.start)
                    for begin, tile in zip(start, (rows, columns), strict=True)
                )
                counts = row_numbers[:, None] < column_numbers
                if may_pair is not None:
                    counts &= may_pair(row_numbers, column_numbers)
                candidates = _pairs_within(resident[rows], block[columns], counts, k, bound)
                candidates = candidates[0] + start, candidates[1]
                pairs = np.concatenate([pairs, candidates[0]])
                best_distances = np.concatenate([best_distances, candidates[1]])
                order = _smallest(best_distances, k)
                pairs, best_distances = pairs[order], best_distances[order]
            second += len(block)
    return pairs, _distance(best_distances, metric)


def _resident_blocks(blocks: Iterable[Floats]) -> Iterator[tuple[int, Floats]]:
    """Joins blocks to about `_RESIDENT_BYTES`; yields each with the index of its first vector."""
    start, size, waiting = 0, 0, list[Floats]()
    for block in blocks:
        waiting.append(block)
        size += block.nbytes
        if size >= _RESIDENT_BYTES:
            joined = np.concatenate(waiting)
            yield start, joined
            start, size, waiting = start + len(joined), 0, []
    if waiting:
        yield start, np.concatenate(waiting)


def _tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    for row in range(0, rows, _TILE):
        for column in range(0, columns, _TILE):
            yield slice(row, min(row + _TILE, rows)), slice(column, min(column + _TILE, columns))


def _pairs_within(
    first_tile: Floats, second_tile: Floats, counts: npt.NDArray[np.bool_], k: int, bound: float
) -> tuple[Indices, Distances]:
    """Pairs of one vector of each tile that count and may be among the k closest."""
    lengths = [np.einsum("ij,ij->i", tile, tile) for tile in (first_tile, second_tile)]
    squared = lengths[0][:, None] + lengths[1] - 2 * (first_tile @ second_tile.T)
    squared[~counts] = np.inf
    tolerance = _TOLERANCE * float(lengths[0].max() + lengths[1].max())
    if not np.isfinite(bound) and squared.size > k:
        bound = float(np.partition(squared, k - 1, axis=None)[k - 1]) + tolerance
    candidates = np.argwhere(np.isfinite(squared) & (squared <= bound + tolerance))
    exact = np.empty(len(candidates))
    rows = max(1, _CACHE_SIZE // first_tile.shape[1])
    for row in range(0, len(candidates), rows):
        first, second = candidates[row : row + rows].T
        differences = first_tile[first].astype(np.float64) - second_tile[second]
        exact[row : row + rows] = np.einsum("ij,ij->i", differences, differences)
    return candidates, exact


def _smallest(values: Distances, k: int) -> Indices:
    """Indices of the k smallest values, in order; of equal values the earlier."""
    if len(values) > k:
        bound = np.partition(values, k - 1)[k - 1]
        candidates = np.flatnonzero(values <= bound)
        return candidates[np.argsort(values[candidates], kind="stable")[:k]]
    return np.argsort(values, kind="stable")


def _normalized(vectors: Vectors, metric: Metric) -> Vectors:
    if metric is Metric.EUCLIDEAN:
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths, lengths, 1))


def _distance(squared: Distances, metric: Metric) -> Distances:
    return np.sqrt(squared) if metric is Metric.EUCLIDEAN else squared / 2
