from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from boatinfer.analysis.drift import jensen_shannon
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
