"""What ``boatinfer review`` asks first."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from boatinfer.pages.selection import Selection
from boatinfer.results.summary import Summary
from boatinfer.review.candidates import Candidates
from boatinfer.review.order import sections


def _candidates(**columns: Any) -> Candidates:
    count = len(next(iter(columns.values())))
    table = {
        "path": [f"{number:04}.jpg" for number in range(count)],
        "label": ["a"] * count,
        "confidence": [0.9] * count,
        **columns,
    }
    summary = Summary(
        run="1",
        folder="/f",
        started="2026-01-01T00:00:00+00:00",
        min_confidence=0.5 if "guess" in columns else None,
    )
    return Candidates(summary, pa.table(table), False)


def test_the_order_is_novel_unsure_disagreement_unusual_suspects() -> None:
    count = 1000
    label = ["a"] * 500 + ["b"] * 498 + ["c"] * 2
    guess, novelty = list(label), [0.0] * count
    label[10] = label[11] = "unsure"
    confidence = [0.9] * count
    confidence[11] = 0.3
    confidence[10] = 0.4
    svm = list(guess)
    svm[20] = svm[11] = "z"
    novelty[700:720] = [5.0] * 19 + [9.0]
    candidates = _candidates(
        label=label, guess=guess, confidence=confidence, svm_label=svm, novelty=novelty
    )
    found = sections(candidates, pa.array(["0800.jpg", "gone.jpg", "0020.jpg", "0801.jpg"]))
    assert [section.reason for section in found] == [
        "novel",
        "unsure",
        "disagree",
        "rare",
        "suspect",
    ]
    rows_ = [section.rows.tolist() for section in found]
    assert rows_[0] == [719, *range(700, 719)]
    assert rows_[1:] == [[11, 10], [20], [998, 999], [800, 801]]


def test_without_a_threshold_the_least_confident_are_unsure() -> None:
    confidence = np.linspace(1, 0.5, 40).tolist()
    (unsure, rare) = sections(_candidates(confidence=confidence))
    assert unsure.rows.tolist() == [39, 38]
    assert rare.rows.tolist() == []


def test_what_the_run_called_unknown_is_novel() -> None:
    label = ["a"] * 50
    label[7] = label[3] = "unknown"
    novelty = [0.1] * 50
    novelty[3], novelty[7], novelty[9] = 0.98, 0.99, 0.97
    candidates = _candidates(label=label, guess=["a"] * 50, novelty=novelty)
    assert sections(candidates)[0].rows.tolist() == [7]  # the top 2 %, without a limit
    limited = msgspec.structs.replace(candidates.summary, max_novelty=0.975)
    found = sections(Candidates(limited, candidates.table, False))
    assert (found[0].reason, found[0].rows.tolist()) == ("novel", [7, 3])


def test_the_page_of_a_run_shows_no_labelled_image_for_review() -> None:
    table = pa.table(
        {
            "path": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
            "label": ["unsure", "unsure", "x", "x"],
            "guess": ["x", "x", "x", "x"],
            "confidence": [0.1, 0.2, 0.6, 0.7],
            "svm_label": ["y", "y", "y", "y"],
            "reviewed": ["x", None, "y", None],
        }
    )
    selection = Selection({"unsure": 2, "x": 2}, ["unsure"])
    selection.add(table)
    found = {
        part: [row["path"] for row in selection.top(part)]
        for part in ("unsure", "least_confident", "disagreeing")
    }
    assert found == {
        "unsure": ["b.jpg"],
        "least_confident": ["d.jpg"],
        "disagreeing": ["d.jpg", "b.jpg"],
    }
    assert len(selection.sample) == 4
