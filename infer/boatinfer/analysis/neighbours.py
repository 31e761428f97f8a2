"""Exact nearest neighbours among feature vectors that come in blocks, in flat memory.

Both metrics are squared Euclidean distances: the cosine distance is half the squared distance
between vectors of length one.
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
Places = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float64]

#: Numbers of a temporary that stays in the processor's cache.
_CACHED = 2**17
#: Rows of the tiles that pairs are compared in.
_TILE = 1024
#: Bytes of the vectors that are held while all others pass by.
_HELD = 2**28
#: How far a float32 product may be from the truth, relative to the squared lengths.
_SLACK = 1e-5


def distances(block: Vectors, query: Vectors, metric: Metric) -> Distances:
    """Distances of each vector of a block from one.

    A vector of zeros has no direction; its cosine distance from any other is 1/2.

    Args:
        block: float32 [N, D].
        query: float32 [D].
        metric: which distance.

    Returns:
        float64 [N].
    """
    query = _directed(query[None], metric)[0]
    squared = np.empty(len(block), np.float64)
    rows = max(1, _CACHED // len(query))
    for start in range(0, len(block), rows):
        here = slice(start, start + rows)
        apart = _directed(block[here], metric) - query
        squared[here] = np.einsum("ij,ij->i", apart, apart)
    return _distance(squared, metric)


def matrix_of_distances(vectors: Floats, metric: Metric) -> Distances:
    """Distances of all pairs of a few vectors, float32 [N, D] to float64 [N, N]."""
    exact = vectors.astype(np.float64)
    return np.stack([distances(exact, vector, metric) for vector in exact])


def nearest(
    blocks: Iterable[Floats], query: Floats, k: int, metric: Metric
) -> tuple[Places, Distances]:
    """Finds the k vectors nearest to one.

    Args:
        blocks: float32 [N, D] each.
        query: float32 [D].
        k: how many; fewer come back where there are fewer.
        metric: which distance.

    Returns:
        Their places, counted through all blocks, and distances, nearest first; of equals
        the earlier.
    """
    places, found = np.empty(0, np.int64), np.empty(0)
    seen = 0
    for block in blocks:
        places = np.concatenate([places, np.arange(seen, seen + len(block))])
        found = np.concatenate([found, distances(block, query, metric)])
        seen += len(block)
        kept = _smallest(found, k)
        places, found = places[kept], found[kept]
    return places, found


def closest_pairs(
    blocks: Callable[[int], Iterable[Floats]], k: int, metric: Metric
) -> tuple[Places, Distances]:
    """Finds the k pairs of vectors that are closest to each other.

    Every vector is compared with every other, by a matrix product in float32; those that may
    be among the k are then measured again, exactly.

    Args:
        blocks: gives the blocks, float32 [N, D] each, of all vectors from a place on.
        k: how many.
        metric: which distance.

    Returns:
        int64 [K, 2], the places of each pair, the smaller first, and float64 [K].
    """

    def directed(start: int) -> Iterator[Floats]:
        return (_directed(block, metric) for block in blocks(start))

    pairs, found = np.empty((0, 2), np.int64), np.empty(0)
    for first, held in _held(directed(0)):
        second = first
        for block in directed(first):
            for rows, columns in _tiles(len(held), len(block)):
                if first + rows.start >= second + columns.stop:
                    continue  # these pairs come the other way round
                bound = found[-1] if len(found) == k else np.inf
                start = np.array([first + rows.start, second + columns.start])
                new = _pairs_within(held[rows], block[columns], start, k, bound)
                pairs, found = np.concatenate([pairs, new[0]]), np.concatenate([found, new[1]])
                kept = _smallest(found, k)
                pairs, found = pairs[kept], found[kept]
            second += len(block)
    return pairs, _distance(found, metric)


def _held(blocks: Iterable[Floats]) -> Iterator[tuple[int, Floats]]:
    """Blocks joined to about the size that may be held, each with the place it begins at."""
    start, size, waiting = 0, 0, list[Floats]()
    for block in blocks:
        waiting.append(block)
        size += block.nbytes
        if size >= _HELD:
            joined = np.concatenate(waiting)
            yield start, joined
            start, size, waiting = start + len(joined), 0, []
    if waiting:
        yield start, np.concatenate(waiting)


def _tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, rows, _TILE):
        for left in range(0, columns, _TILE):
            yield slice(top, min(top + _TILE, rows)), slice(left, min(left + _TILE, columns))


def _pairs_within(
    one: Floats, other: Floats, start: Places, k: int, bound: float
) -> tuple[Places, Distances]:
    """Pairs of two tiles, the first before the second, that may be among the k closest."""
    lengths = [np.einsum("ij,ij->i", tile, tile) for tile in (one, other)]
    squared = lengths[0][:, None] + lengths[1] - 2 * (one @ other.T)
    before = start[0] + np.arange(len(one))[:, None] < start[1] + np.arange(len(other))
    squared[~before] = np.inf
    slack = _SLACK * float(lengths[0].max() + lengths[1].max())
    if not np.isfinite(bound) and squared.size > k:
        bound = float(np.partition(squared, k - 1, axis=None)[k - 1]) + slack
    near = np.argwhere(np.isfinite(squared) & (squared <= bound + slack))
    exact = np.empty(len(near))
    rows = max(1, _CACHED // one.shape[1])
    for first in range(0, len(near), rows):
        left, right = near[first : first + rows].T
        apart = one[left].astype(np.float64) - other[right]
        exact[first : first + rows] = np.einsum("ij,ij->i", apart, apart)
    return near + start, exact


def _smallest(values: Distances, k: int) -> Places:
    """Places of the k smallest values, in order; of equals the earlier."""
    if len(values) > k:
        bound = np.partition(values, k - 1)[k - 1]
        near = np.flatnonzero(values <= bound)
        return near[np.argsort(values[near], kind="stable")[:k]]
    return np.argsort(values, kind="stable")


def _directed(vectors: Vectors, metric: Metric) -> Vectors:
    if metric is Metric.EUCLIDEAN:
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths, lengths, 1))


def _distance(squared: Distances, metric: Metric) -> Distances:
    return np.sqrt(squared) if metric is Metric.EUCLIDEAN else squared / 2
