from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score

from boattrain.evaluation import Evaluation
from boattrain.history import Epoch
from boattrain.pictures import draw_confusion, draw_curves

CLASSES = ["a $\\frac", "b<c>", "ünï", "never"]
TRUTH = np.array([0, 0, 1, 1, 1, 2, 2, 0, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 0, 2, 1, 0, 1, 2])
EVALUATION = Evaluation(CLASSES, TRUTH, np.eye(4, dtype=np.float32)[PREDICTED] * 0.7 + 0.075)


def test_figures_are_those_of_scikit_learn() -> None:
    document = json.loads(json.dumps(EVALUATION.document()))

    assert document["images"] == 10
    assert document["accuracy"] == pytest.approx(0.7)
    assert document["macro_f1"] == pytest.approx(f1_score(TRUTH, PREDICTED, average="macro"))
    assert document["confusion"] == confusion_matrix(TRUTH, PREDICTED, labels=range(4)).tolist()
    options = {"labels": range(4), "average": None, "zero_division": 0}
    for key, score in [("precision", precision_score), ("recall", recall_score), ("f1", f1_score)]:
        found = [document["classes"][name][key] for name in CLASSES]
        assert found == pytest.approx(score(TRUTH, PREDICTED, **options))
    assert [document["classes"][name]["images"] for name in CLASSES] == [3, 4, 3, 0]
    assert [document["classes"][name]["predicted"] for name in CLASSES] == [3, 5, 2, 0]
    for figure in ("accuracy", "macro_f1"):
        lower, upper = document[f"{figure}_interval"]
        assert lower < document[figure] < upper


def test_the_text_counts_predictions_and_truth() -> None:
    lines = EVALUATION.text().splitlines()
    assert [line.split()[-1] for line in lines[1:5]] == ["3", "5", "2", "0"]
    assert [line.split()[-1] for line in lines[7:11]] == ["3", "4", "3", "0"]
    assert any(line.split() == ["ünï", "1.00", "0.67", "0.80", "3"] for line in lines)


@pytest.mark.parametrize("classes", [CLASSES, ["日本", *CLASSES[1:]]], ids=["latin", "no glyph"])
def test_the_confusion_matrix_can_be_drawn(tmp_path: Path, classes: list[str]) -> None:
    drawn = Evaluation(classes, TRUTH, EVALUATION.probabilities)
    draw_confusion(drawn, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.width == picture.height > 300
        assert len(np.unique(np.asarray(picture))) > 10


def test_very_many_classes_make_a_picture_of_bounded_size(tmp_path: Path) -> None:
    truth = np.arange(200)
    many = Evaluation(list(map(str, truth)), truth, np.eye(200, dtype=np.float32))
    draw_confusion(many, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.width < 3000


def test_curves_of_one_epoch_can_be_drawn(tmp_path: Path) -> None:
    epoch = Epoch(1, "whole", 0.1, 1.0, 0.5, 1.0, 0.5, 0.5)
    draw_curves([epoch], epoch, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
