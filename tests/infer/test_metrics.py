from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from boatinfer.analysis.metrics import (
    accuracy,
    binomial_tail,
    calibration,
    calibration_error,
    class_scores,
    confusion,
    intervals,
    macro_f1,
    mcnemar,
    ranks,
    risk_coverage,
    scores,
    wilson,
)

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


def test_the_interval_of_accuracy_covers_a_known_share() -> None:
    truth = np.zeros(400, np.int64)
    predicted = (np.arange(400) % 10 == 0).astype(np.int64)  # 90 % right
    lower, upper = intervals(confusion(truth, predicted, 2)).accuracy
    spread = 1.96 * (0.9 * 0.1 / 400) ** 0.5
    assert lower == pytest.approx(0.9 - spread, abs=0.01)
    assert upper == pytest.approx(0.9 + spread, abs=0.01)
    assert intervals(confusion(truth, truth, 2)).accuracy == pytest.approx([0.9905, 1], abs=1e-4)


pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(pairs)
@settings(max_examples=30)
def test_class_scores_are_those_of_scikit_learn(both: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(both).T
    table = confusion(truth, predicted, 5)
    assert (table == confusion_matrix(truth, predicted, labels=range(5))).all()
    expected = precision_recall_fscore_support(
        truth, predicted, labels=range(5), zero_division=np.nan
    )
    for found, score in zip(class_scores(table), expected, strict=False):
        assert found == pytest.approx(score, nan_ok=True)


def test_intervals_are_those_of_drawing_the_images() -> None:
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 3, 300)
    predicted = np.where(draw.random(300) < 0.8, truth, draw.integers(0, 3, 300))
    found = intervals(confusion(truth, predicted, 4))

    def drawn(figure: Callable[[Any, Any], float]) -> Any:
        rows = draw.integers(0, 300, (2000, 300))
        return np.quantile([figure(truth[row], predicted[row]) for row in rows], [0.025, 0.975])

    def recall(truth: Any, predicted: Any) -> float:
        return float(np.mean(predicted[truth == 2] == 2))

    def f1(truth: Any, predicted: Any) -> float:
        both = (truth == 2) & (predicted == 2)
        return float(2 * both.sum() / ((truth == 2).sum() + (predicted == 2).sum()))

    assert found.accuracy == pytest.approx(drawn(accuracy), abs=0.01)
    assert found.macro_f1 == pytest.approx(drawn(macro_f1), abs=0.01)
    assert found.recall[:, 2] == pytest.approx(drawn(recall), abs=0.015)
    assert found.f1[:, 2] == pytest.approx(drawn(f1), abs=0.02)
    assert np.isnan(found.f1[:, 3]).all()


def test_no_interval_of_a_few_images_has_a_width_of_zero() -> None:
    found = intervals(np.array([[0, 22], [0, 3]]))
    assert found.recall[:, 0] == pytest.approx([0, 0.1487], abs=1e-4)  # of 0 of 22
    assert found.recall[:, 1] == pytest.approx([0.4385, 1], abs=1e-4)  # of 3 of 3
    assert np.isnan(found.precision[:, 0]).all()
    assert found.f1[0, 0] == 0 < found.f1[1, 0]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), min_size=1))
@settings(max_examples=30)
def test_wilson_intervals_are_those_of_scipy(counts: list[tuple[int, int]]) -> None:
    of = np.array([total for _, total in counts])
    right = np.minimum([count for count, _ in counts], of)
    expected = [
        binomtest(int(k), int(n)).proportion_ci(0.95, "wilson")
        for k, n in zip(right, of, strict=True)
    ]
    assert pytest.approx(np.array(expected), abs=1e-12) == wilson(right, of).T


def test_the_calibration_curve_tells_confidence_from_accuracy() -> None:
    right = np.array([True, False, True, True])
    found = calibration(right, np.array([0.15, 0.25, 0.95, 1.0]), bins=10)
    assert found.images.tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 0, 2]
    assert found.accuracy[[1, 2, 9]].tolist() == [1, 0, 1]
    assert found.confidence[[1, 2, 9]] == pytest.approx([0.15, 0.25, 0.975])
    assert np.isnan(found.accuracy[0])
    assert found.error == pytest.approx((0.85 + 0.25 + 2 * 0.025) / 4)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.5, 0.7, 0.9])), min_size=1))
def test_what_a_threshold_keeps_is_as_accurate_as_the_curve_says(
    images: list[tuple[bool, float]],
) -> None:
    right, confidence = np.array([r for r, _ in images]), np.array([c for _, c in images])
    curve = risk_coverage(right, confidence)
    for threshold, coverage, share in zip(*curve, strict=True):
        assert coverage == pytest.approx(np.mean(confidence >= threshold))
        assert share == pytest.approx(np.mean(right[confidence >= threshold]))
    assert curve.coverage[-1] == 1
    for coverage in (0.0, 0.3, 1.0):
        place = curve.index_of(coverage)
        assert curve.coverage[place] >= coverage - 1e-9
        assert place == 0 or curve.coverage[place - 1] < coverage


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=3, max_size=3), st.integers(0, 2))
def test_a_rank_is_the_place_in_the_stable_order(values: list[float], truth: int) -> None:
    found = ranks(np.array([values]), np.array([truth]))
    assert np.argsort(-np.array(values), kind="stable").tolist().index(truth) == found[0]


@given(st.integers(1, 3000), st.data(), st.floats(0.001, 0.999))
def test_the_tail_of_the_binomial_distribution_is_that_of_scipy(
    trials: int, data: st.DataObject, share: float
) -> None:
    successes = data.draw(st.integers(0, trials))
    expected = binom.sf(successes - 1, trials, share)
    assert binomial_tail(successes, trials, share) == pytest.approx(expected, 1e-9, 1e-300)


def test_mcnemar_counts_only_where_one_is_right() -> None:
    # 8 against 2 of ten tosses of a coin: 2 (1 + 10 + 45) / 1024
    one = np.array([True] * 8 + [False] * 2 + [True] * 50)
    other = np.array([False] * 8 + [True] * 2 + [True] * 50)
    assert mcnemar(one, other) == pytest.approx(112 / 1024)
    assert mcnemar(one, one) == 1


def test_calibration_has_15_bins_unless_it_is_told_otherwise() -> None:
    draw = np.random.default_rng(2)
    probabilities = draw.dirichlet([1, 1, 1], 500)
    truth = (draw.random((500, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)  # as sure as right
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.digitize(confidence, np.arange(1, 15) / 15)  # as Guo et al. do
    parts = [bins == number for number in range(15)]
    gaps = [abs(confidence[of].sum() - right[of].sum()) / 500 for of in parts]
    found = calibration(right, confidence)
    assert found.images.tolist() == [of.sum() for of in parts]
    assert found.error == pytest.approx(sum(gaps))
    assert calibration_error(truth, probabilities) == pytest.approx(sum(gaps))
    for other in (13, 14, 16, 17):
        assert calibration(right, confidence, other).error != pytest.approx(sum(gaps))
