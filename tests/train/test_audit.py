"""Labels that are hard to believe."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from boatinfer.dataset.labelled_images import read_collection
from boatinfer.models.built_in import model_place
from boatinfer.models.model import open_model
from boattrain.data.audit import _features, cross_validated, suspicion
from support import Command, drawing


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def planted(share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of classes of very different sizes, labels, and the rows of the wrong ones."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(6, 1500, p=[0.4, 0.3, 0.2, 0.06, 0.03, 0.01])
    features = rng.normal(size=(6, 20))[truth] * 2 + rng.normal(size=(1500, 20))
    wrong = rng.choice(1500, round(share * 1500), replace=False)
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, 6, len(wrong))) % 6
    return features.astype(np.float32), labels, wrong


@pytest.mark.parametrize("seed", range(3))
def test_planted_labels_come_first(seed: int) -> None:
    features, labels, wrong = planted(0.02, seed)
    order = np.argsort(-suspicion(cross_validated(features, labels, 6, 5), labels))
    assert np.isin(wrong, order[: round(0.04 * len(labels))]).mean() >= 0.96


def test_no_image_is_judged_by_a_model_that_was_fitted_to_it() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 100)).astype(np.float32)  # more values than images
    labels = np.arange(60) % 2
    probabilities = cross_validated(features, labels, 2, 5)
    assert np.mean(probabilities.argmax(axis=1) == labels) < 0.75


@pytest.mark.parametrize("counts", [[20, 3, 1], [2, 2], [3, 2, 1, 1], [1, 30, 2]])
def test_classes_of_few_images(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    features = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32)
    probabilities = cross_validated(features, labels, len(counts), 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    single = np.bincount(labels)[labels] == 1
    assert (probabilities[single, labels[single]] == 0).all()


@pytest.mark.parametrize("counts", [(20, 1), (1, 1)])
def test_two_classes_need_two_images_each(
    counts: tuple[int, int], tmp_path: Path, boatinfer: Command
) -> None:
    for name, count in zip(("boat", "water"), counts, strict=True):
        (tmp_path / "data" / name).mkdir(parents=True)
        for seed in range(count):
            (tmp_path / "data" / name / f"{seed}.jpg").write_bytes(drawing(seed + 50 * count))
    done = boatinfer("data", "audit", tmp_path / "data", "-o", tmp_path / "audit.csv")
    assert (done.code, "has not two classes with two readable images" in done.err) == (2, True)


def test_near_duplicates_of_two_classes_and_a_wrong_label(
    data: Path, tmp_path: Path, boatinfer: Command
) -> None:
    (data / "train/red/drawn.jpg").write_bytes(drawing(1))
    (data / "train/blue/drawn.jpg").write_bytes(drawing(1, quality=50))
    (data / "train/red/03.jpg").rename(data / "train/green/=wrong.jpg")
    (data / "train/red/broken.jpg").write_text("no image")
    out, page = tmp_path / "audit.csv", tmp_path / "audit.html"
    done = boatinfer("data", "audit", data, "-o", out, "--html", page)
    assert done.code == 0, done.err
    assert "left out" in done.err
    found = read(out)
    assert [(row["path"], row["like"], row["suggested"]) for row in found[:2]] == [
        ("train/blue/drawn.jpg", "train/red/drawn.jpg", "red"),
        ("train/red/drawn.jpg", "train/blue/drawn.jpg", "blue"),
    ]
    assert (found[2]["path"], found[2]["label"], found[2]["suggested"], found[2]["reason"]) == (
        "train/green/=wrong.jpg",
        "green",
        "red",
        "label",
    )
    text = page.read_text()
    assert "near duplicate labelled blue" in text
    assert "rather red" in text
    assert "data:image/jpeg" in text
    again = boatinfer("data", "audit", data, "-o", out)
    assert (again.code, "--force" in again.err) == (2, True)


def test_labels_planted_among_the_boats(mardct: Path) -> None:
    files = read_collection(mardct).files
    files = files.select([row % 4 == 0 for row in range(len(files.paths))])
    features, files = _features(open_model(model_place("boats")), files)
    rng = np.random.default_rng(0)
    labels = np.array(files.labels)
    wrong = rng.choice(len(labels), round(0.02 * len(labels)), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 16, len(wrong))) % 16
    order = np.argsort(-suspicion(cross_validated(features, labels, 16, 5), labels))
    assert np.isin(wrong, order[: round(0.04 * len(labels))]).mean() >= 0.96
