"""The figures of predictions that are made up: no model, no files."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import classification_report

from boatinfer.analysis.compare import Comparison, speed
from boatinfer.analysis.evaluation import Confidence, Evaluation
from boatinfer.results.folder import Results
from boatinfer.results.summary import Summary


def evaluation(truth: list[int], predicted: list[int], classes: int) -> Evaluation:
    """Of classes c0, c1, ... and images 000.jpg, 001.jpg, ..."""
    names = [f"c{number}" for number in range(classes)]
    paths = np.array([f"{number:03}.jpg" for number in range(len(truth))], object)
    return Evaluation(names, paths, np.array(truth), np.array(predicted))


def confused(pairs: int) -> Evaluation:
    """Class 0 taken once for class 1, twice for class 2, and so on; and 50 right ones."""
    predicted = [place for place in range(1, pairs + 1) for _ in range(place)] + [0] * 50
    return evaluation([0] * len(predicted), predicted, pairs + 1)


def test_the_ten_most_confused_pairs_are_named_commonest_first() -> None:
    found = confused(12)
    wanted = [("c0", f"c{place}", place) for place in range(12, 2, -1)]
    assert [(of, as_, len(paths)) for of, as_, paths in found.confused()] == wanted
    assert [of["images"] for of in found.document()["confused"]] == [*range(12, 2, -1)]
    named = [line for line in found.pairs() if not line.startswith("    ")]
    assert len(named) == 10
    assert named[0] == "  c0 predicted as c12: 12, such as"
    assert evaluation([0, 1], [0, 1], 2).pairs() == []


def test_of_a_confused_pair_the_text_names_three_images_and_the_json_a_hundred() -> None:
    three, four = (evaluation([0] * count, [1] * count, 2).pairs() for count in (3, 4))
    assert three == ["  c0 predicted as c1: 3", "    000.jpg", "    001.jpg", "    002.jpg"]
    assert four == ["  c0 predicted as c1: 4, such as", *three[1:]]
    (pair,) = evaluation([0] * 120, [1] * 120, 2).pairs_document("a", "b")
    assert (pair["a"], pair["b"], pair["images"]) == ("c0", "c1", 120)
    assert pair["paths"] == [f"{number:03}.jpg" for number in range(100)]


def test_the_matrix_is_printed_if_it_fits() -> None:
    most, more = (evaluation([0] * 999, [0] * 999, classes).matrix() for classes in (18, 19))
    assert len(most) == 2 + 18
    assert max(map(len, most)) <= 80
    assert more == ["The confusion matrix of 19 classes is in the --json output."]


def sure(count: int, classes: int = 7) -> Evaluation:
    """Predictions of rising confidence from 0.01 on, of which every third is wrong."""
    confidence = (np.arange(1, count + 1) / count).astype(np.float32)
    rank = np.arange(count) % 3
    truth = np.zeros(count, np.int64)
    paths = np.array([f"{number}.jpg" for number in range(count)], object)
    names = [f"c{number}" for number in range(classes)]
    return Evaluation(names, paths, truth, rank, Confidence(confidence, rank))


def test_the_document_has_15_bins_of_confidence_and_101_coverages() -> None:
    found = sure(3000)
    document = found.document()
    bins = document["calibration"]
    assert [of["from"] for of in bins] == pytest.approx([number / 15 for number in range(15)])
    assert [of["to"] for of in bins] == pytest.approx([(n + 1) / 15 for n in range(15)])
    assert sum(of["images"] for of in bins) == 3000
    for of in bins:
        assert of["from"] <= of["confidence"] <= of["to"]
        assert of["accuracy"] == pytest.approx(1 / 3, abs=0.01)
    coverages = [of["coverage"] for of in document["risk_coverage"]]
    assert len(coverages) == 101
    assert coverages[1:] == pytest.approx([number / 100 for number in range(1, 101)])
    assert document["top_k"] == {"1": pytest.approx(1 / 3), "2": pytest.approx(2 / 3),
                                 "3": 1, "5": 1}  # fmt: skip
    assert set(sure(30, classes=5).document()["top_k"]) == {"1", "2", "3"}


def test_the_text_says_what_is_left_to_people() -> None:
    said = sure(1000).text()
    left = re.findall(r"^ +(\d+\.\d)% +(\d\.\d{4}) +\d\.\d{3}$", said, re.MULTILINE)
    assert [share for share, _ in left] == ["0.0", "1.0", "5.0", "10.0", "20.0", "30.0", "50.0"]
    assert [below for _, below in left][:3] == ["0.0010", "0.0110", "0.0510"]
    assert "top-2" in said
    assert "top-1" not in said  # that is the accuracy
    assert said.count("calibration error") == 1


def test_what_is_as_confident_as_the_threshold_is_kept() -> None:
    found = sure(10).abstain_below(0.5)  # 0.5 to 1.0, and of these 0.7 and 1.0 are right
    assert (found.min_confidence, found.images, found.correct, found.evaluated) == (0.5, 6, 2, 10)


def test_an_svm_has_no_confidence() -> None:
    found = evaluation([0, 1], [0, 0], 2)
    with pytest.raises(ValueError, match="no confidence"):
        found.abstain_below(0.5)
    assert "top_k" not in found.document()
    assert "calibration" not in found.text()


def compared(a_alone: int, b_alone: int) -> Comparison:
    """Two runs of which each alone is right so often; both are right of four more images."""
    truth = [0] * (a_alone + b_alone + 4)
    a = evaluation(truth, [0] * a_alone + [1] * b_alone + [0] * 4, 2)
    b = evaluation(truth, [1] * a_alone + [0] * b_alone + [0] * 4, 2)
    runs = [Summary(run=name, folder="/in", started="2026-01-01T00:00:00+00:00") for name in "ab"]
    return Comparison(
        (Path("a"), Path("b")), (runs[0], runs[1]), (None, None), a, (0, 0), 0, (a, b)
    )


@pytest.mark.parametrize(
    ("a_alone", "b_alone", "said"),
    [
        (4, 13, "unlikely to be chance (McNemar's exact test: p = 0.04904)."),
        (10, 22, "this may be chance (McNemar's exact test: p = 0.0501)."),
        (0, 14, "unlikely to be chance (McNemar's exact test: p = 0.0001221)."),
        (0, 15, "unlikely to be chance (McNemar's exact test: p < 0.0001)."),
        (3, 3, "A and B are equally accurate: 0.7000 of 10 images."),
    ],
)
def test_a_difference_counts_if_chance_makes_it_once_in_twenty(
    a_alone: int, b_alone: int, said: str
) -> None:
    found = compared(a_alone, b_alone)
    assert found.verdict().endswith(said)
    assert found.contingency == {
        **{"both": 4, "a_alone": a_alone, "b_alone": b_alone},
        "neither": 0,
    }


def test_the_speed_of_a_run_is_never_that_of_another_model(tmp_path: Path) -> None:
    results = Results(tmp_path)
    (tmp_path / "runs").mkdir()

    def ran(run: str, model: str, classified: int, speed: float | None) -> Summary:
        summary = Summary(
            run=run,
            folder="/in",
            started="2026-01-01T00:00:00+00:00",
            model=model,
            classified=classified,
            images_per_second=speed,
        )
        results.write_summary(summary)
        return summary

    assert speed(results, ran("1", "ours", 0, None)) is None
    assert speed(results, ran("2", "ours", 9, 50.0)) == 50
    assert speed(results, ran("3", "theirs", 9, 70.0)) == 70
    assert speed(results, ran("4", "ours", 0, 99.0)) == 50  # nothing classified: no speed
    assert speed(results, ran("5", "third", 0, None)) is None
    assert speed(results, ran("6", "ours", 9, 40.0)) == 40


def test_the_text_names_each_class_once_and_fits_a_terminal() -> None:
    names = ["a very long name of a class indeed", "short", "another", "absent"]
    truth, predicted = [0] * 5 + [1] * 3 + [2] * 2, [0] * 4 + [1] * 4 + [0] * 2
    found = dataclasses.replace(evaluation(truth, predicted, 4), classes=names)
    lines = found.text().splitlines()
    assert max(map(len, lines)) <= 80
    table = lines[: lines.index("Most confused")]
    assert sum("short" in line for line in table) == 1
    assert sum(f"{names[0][:22]}\N{HORIZONTAL ELLIPSIS}" in line for line in table) == 1
    report = classification_report(truth, predicted, output_dict=True, zero_division=0)
    assert found.weighted_f1 == pytest.approx(report["weighted avg"]["f1-score"])
    assert found.document()["weighted_f1"] == found.weighted_f1
    for average in ("macro", "weighted"):
        (line,) = [line for line in table if f"{average} average" in line]
        figures = [report[f"{average} avg"][name] for name in ("precision", "recall", "f1-score")]
        assert line.split()[2:] == [f"{figure:.3f}" for figure in figures]
