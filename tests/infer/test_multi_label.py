"""Figures of labels of which an image may have several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from boatinfer.analysis.multi_label import MultiLabelEvaluation, average_precision, label_scores

rows = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1)


@settings(max_examples=100, deadline=None)
@given(rows)
def test_figures_of_a_label_are_those_of_scikit_learn(images: Any) -> None:
    truth, predicted, scores = (np.array(column) for column in zip(*images, strict=True))
    found = label_scores(truth, predicted, scores / 5)
    assert (found.images, found.predicted) == (truth.sum(), predicted.sum())
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, average="binary", zero_division=np.nan
    )
    assert found.precision == pytest.approx(precision, nan_ok=True)
    assert found.recall == pytest.approx(recall, nan_ok=True)
    if truth.any():
        assert found.f1 == pytest.approx(f1)
        wanted = average_precision_score(truth, scores)
        assert average_precision(truth, scores) == pytest.approx(wanted)
    else:
        assert np.isnan(average_precision(truth, scores))


def test_means_leave_out_what_is_undefined() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], bool)
    predicted = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], bool)
    scores = np.array([[0.9, 0.1, 0.1], [0.8, 0.2, 0.2], [0.1, 0.9, 0.0]], np.float32)
    evaluation = MultiLabelEvaluation(["a", "b", "c"], truth, predicted, scores)
    assert evaluation.mean_average_precision == 1
    assert evaluation.macro_f1 == pytest.approx((1 + 2 / 3) / 2)
    assert evaluation.exact == pytest.approx(2 / 3)
    document = evaluation.document()
    assert document["classes"]["c"]["average_precision"] is None
    assert document["classes"]["b"]["recall"] == 0.5
    assert "mAP 1.000, macro-F1 0.833, all labels right 0.667" in evaluation.text()
