from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from boatinfer.analysis.drift import drift, jensen_shannon
from boatinfer.results.mix import BINS, Mix

counts = st.lists(st.integers(0, 1000), min_size=3, max_size=3).filter(any)


@given(counts, counts)
def test_the_divergence_is_that_of_scipy(one: list[int], other: list[int]) -> None:
    found = float(jensen_shannon(one, other))
    assert found == pytest.approx(jensenshannon(one, other, base=2) ** 2, abs=1e-7)
    assert 0 <= found <= 1 + 1e-12
    assert found == pytest.approx(float(jensen_shannon(other, one)))


def test_equal_shares_do_not_diverge_and_disjoint_ones_do_fully() -> None:
    assert float(jensen_shannon([1, 3, 0], [10, 30, 0])) == pytest.approx(0, abs=1e-12)
    assert float(jensen_shannon([5, 0], [0, 7])) == pytest.approx(1)


def _nights(shares: list[float], sizes: list[int], seed: int = 1) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.multinomial(size, shares) for size in sizes]


@pytest.mark.parametrize("size", [5, 60, 5000])
@pytest.mark.parametrize("before", [1, 2, 8])
def test_a_night_like_the_others_is_not_unusual(size: int, before: int) -> None:
    for seed in range(20):
        *earlier, now = _nights([0.6, 0.3, 0.1], [size] * before + [size], seed)
        assert not drift(now, earlier).unusual


@pytest.mark.parametrize("before", [1, 8])
def test_a_shifted_night_is_unusual(before: int) -> None:
    earlier = _nights([0.6, 0.3, 0.1], [200] * before)
    (now,) = _nights([0.2, 0.3, 0.5], [200], seed=2)
    found = drift(now, earlier)
    assert found.unusual
    assert found.divergence > found.chance


def test_nights_that_always_differ_are_the_measure() -> None:
    """Alternating nights: neither kind is unusual, though chance would never do that."""
    earlier = [np.array([900, 100]), np.array([100, 900])] * 4
    found = drift(np.array([850, 150]), earlier)
    assert found.divergence > found.chance
    assert not found.unusual


def test_a_mix_counts_confidences_in_spans() -> None:
    mix = Mix.from_batches(
        [
            ({"b": 1}, {"b": 1}, np.array([0.99])),
            ({"unsure": 1, "a": 1}, {"a": 2}, np.array([0.0, 1.0])),
        ],
        failed=2,
    )
    assert (mix.found, mix.classified, mix.failed) == (5, 3, 2)
    assert (mix.labels, mix.classes) == ({"a": 1, "b": 1, "unsure": 1}, {"a": 2, "b": 1})
    assert (sum(mix.confidences), len(mix.confidences)) == (3, BINS)
    assert (mix.confidences[0], mix.confidences[-1]) == (1, 2)
    assert mix.mean_confidence == 0.663333  # of 1.99 / 3
    assert Mix.from_batches([]).mean_confidence is None
