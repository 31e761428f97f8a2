from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boatinfer.analysis.evaluation import Evaluation
from boatinfer.analysis.metrics import Labels
from boattrain.fitting.history import EpochMetrics
from boattrain.fitting.plots import draw_confusion, draw_curves

CLASSES = ["a $\\frac", "b<c>", "ünï", "never"]
TRUTH = np.array([0, 0, 1, 1, 1, 2, 2, 0, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 0, 2, 1, 0, 1, 2])


def evaluation(classes: list[str], truth: Labels, predicted: Labels) -> Evaluation:
    paths = np.array([f"{place}.jpg" for place in range(len(truth))], object)
    return Evaluation(classes, paths, truth, predicted)


@pytest.mark.parametrize("classes", [CLASSES, ["日本", *CLASSES[1:]]], ids=["latin", "no glyph"])
def test_the_confusion_matrix_can_be_drawn(tmp_path: Path, classes: list[str]) -> None:
    draw_confusion(evaluation(classes, TRUTH, PREDICTED), tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.width == picture.height > 300
        assert len(np.unique(np.asarray(picture))) > 10


def test_very_many_classes_make_a_picture_of_bounded_size(tmp_path: Path) -> None:
    truth = np.arange(200)
    many = evaluation(list(map(str, truth)), truth, truth)
    draw_confusion(many, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.width < 3000


def test_curves_of_one_epoch_can_be_drawn(tmp_path: Path) -> None:
    epoch = EpochMetrics(1, "whole", 0.1, 1.0, 0.5, 1.0, 0.5, 0.5)
    draw_curves([epoch], epoch, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
