from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from boatinfer.analysis import neighbours
from boatinfer.analysis.neighbours import closest_pairs, distances, matrix_of_distances, nearest
from boatinfer.analysis.options import Metric

METRICS = pytest.mark.parametrize("metric", list(Metric))


def vectors(count: int, dimension: int = 7, seed: int = 0) -> Any:
    draw = np.random.default_rng(seed)
    return np.abs(draw.normal(size=(count, dimension))).astype(np.float32)


def in_blocks(every: Any, sizes: list[int]) -> list[Any]:
    return [block for block in np.split(every, np.cumsum(sizes)) if len(block)]


@METRICS
@given(st.lists(st.integers(1, 20), max_size=4), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=30)
def test_the_nearest_are_those_of_scikit_learn(
    metric: Metric, sizes: list[int], k: int, seed: int
) -> None:
    every = vectors(60, seed=seed)
    query = vectors(1, seed=seed + 1)
    places, found = nearest(in_blocks(every, sizes), query[0], k, metric)
    peer = NearestNeighbors(n_neighbors=k, algorithm="brute", metric=metric.value).fit(every)
    expected, (order,) = peer.kneighbors(query.astype(np.float64))
    assert found == pytest.approx(expected[0], abs=1e-5)
    assert places.tolist() == order.tolist()


def test_of_equals_the_earlier_and_never_more_than_there_are() -> None:
    blocks = [
        np.zeros((2, 3), np.float32),
        np.ones((1, 3), np.float32),
        np.zeros((2, 3), np.float32),
    ]
    for k, expected in [(1, [0]), (3, [0, 1, 3]), (9, [0, 1, 3, 4, 2])]:
        places, found = nearest(blocks, np.zeros(3, np.float32), k, Metric.EUCLIDEAN)
        assert places.tolist() == expected
        assert len(found) == len(expected)


@METRICS
def test_a_vector_of_zeros_is_far_from_all_and_no_error(metric: Metric) -> None:
    block = np.array([[0, 0], [3, 4]], np.float32)
    found = distances(block, np.zeros(2, np.float32), metric)
    assert found.tolist() == ([0, 5] if metric is Metric.EUCLIDEAN else [0, 0.5])


@METRICS
def test_the_matrix_is_that_of_scikit_learn(metric: Metric) -> None:
    every = vectors(6)
    expected = pairwise_distances(every.astype(np.float64), metric=metric.value)
    assert matrix_of_distances(every, metric) == pytest.approx(expected, abs=1e-6)


@METRICS
@pytest.mark.parametrize("held", [1, 2**28])
@pytest.mark.parametrize("k", [1, 10, 5000])
def test_the_closest_pairs_are_those_of_all(
    metric: Metric, held: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_TILE", 8)
    monkeypatch.setattr(neighbours, "_RESIDENT_BYTES", held)
    every = 1000 + vectors(60)  # far from the origin, where float32 products are coarse
    every[[3, 41]] = every[17]

    def blocks(start: int) -> Iterator[Any]:
        yield from in_blocks(every[start:], [9, 20, 1])

    pairs, found = closest_pairs(blocks, k, metric)
    expected = pairwise_distances(every.astype(np.float64), metric=metric.value)
    one, other = np.triu_indices(60, 1)
    order = np.sort(expected[one, other])[:k]
    assert found == pytest.approx(order, rel=1e-3, abs=1e-9)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(found) == min(k, 60 * 59 // 2)
    assert pairs[0].tolist() in [[3, 17], [3, 41], [17, 41]]
