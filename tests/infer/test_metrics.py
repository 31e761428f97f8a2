from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from boatinfer.metrics import accuracy, bootstrap, calibration_error, macro_f1, scores

labels = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60)


@given(labels)
def test_macro_f1_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    expected = f1_score(truth, predicted, average="macro", zero_division=0)
    assert macro_f1(truth, predicted) == pytest.approx(expected)


def test_confidence_that_matches_the_share_of_right_answers_has_no_calibration_error() -> None:
    truth = np.array([0, 0, 0, 1])
    probabilities = np.tile([0.75, 0.25], (4, 1))  # sure by 75 %, and right in 3 of 4
    assert calibration_error(truth, probabilities) == pytest.approx(0)
    assert calibration_error(np.array([1, 1, 1, 0]), probabilities) == pytest.approx(0.5)


def test_calibration_errors_of_different_bins_do_not_cancel() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1]])  # too low by 0.4, too high by 0.9
    assert calibration_error(np.array([0, 1]), probabilities) == pytest.approx((0.4 + 0.9) / 2)


@given(st.integers(1, 50), st.integers(0, 2**16))
def test_calibration_error_is_a_share_even_at_full_confidence(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    sure = np.eye(3)[draw.integers(0, 3, count)]
    truth = draw.integers(0, 3, count)
    found = scores(truth, sure)
    assert found.calibration_error == pytest.approx(1 - found.accuracy)


def test_the_bootstrap_interval_covers_a_known_share() -> None:
    truth = np.zeros(400, np.int64)
    predicted = (np.arange(400) % 10 == 0).astype(np.int64)  # 90 % right
    lower, upper = bootstrap(truth, predicted, accuracy)
    spread = 1.96 * (0.9 * 0.1 / 400) ** 0.5
    assert lower == pytest.approx(0.9 - spread, abs=0.01)
    assert upper == pytest.approx(0.9 + spread, abs=0.01)
    assert bootstrap(truth, truth, accuracy) == (1, 1)
