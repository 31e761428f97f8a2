from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

import colours
from boatinfer.analysis import metrics
from boatinfer.analysis.abstention import find_threshold, images_required
from boatinfer.analysis.evaluate import evaluate
from boatinfer.analysis.options import EvaluateOptions
from boatinfer.errors import UsageError
from boatinfer.models.model import open_model
from boatinfer.pipeline.options import RunOptions
from boatinfer.results.summary import Summary
from support import Command, rows

Night = Callable[..., Summary]


@pytest.fixture
def mixed(pictures: Path, model_file: Path) -> float:
    """Adds a picture that is half red, half green; gives a confidence above it, below the rest."""
    half = [colours.picture(name, 5, (80, 12), "PNG") for name in ("red", "green")]
    from io import BytesIO

    from PIL import Image

    both = np.concatenate([np.asarray(Image.open(BytesIO(data))) for data in half])
    Image.fromarray(both).save(pictures / "red/half.png")
    confidences = open_model(model_file).predict(sorted(pictures.rglob("*.*"))).probabilities
    least, second = np.sort(confidences.max(axis=1))[:2]
    assert least < 0.7 < second
    return 0.7


def test_what_is_less_confident_is_unsure_and_listed(
    night: Night, mixed: float, tmp_path: Path
) -> None:
    (tmp_path / "pictures/red/bad.jpg").write_text("hello")
    plain = night(max_failures="1")
    before = {row["path"]: row for row in rows(tmp_path / "out")}
    summary = night(min_confidence=mixed, max_failures="1")
    found = {row["path"]: row for row in rows(tmp_path / "out")}
    assert list(next(iter(found.values())))[-4:] == ["status", "guess", "run", "new"]
    assert {path for path, row in found.items() if row["label"] == "unsure"} == {"red/half.png"}
    for path, row in found.items():
        assert row["guess"] == before[path]["label"]
        assert row["label"] in {row["guess"], "unsure"}
        assert row["confidence"] == before[path]["confidence"]
    assert (found["red/bad.jpg"]["label"], found["red/bad.jpg"]["status"]) == ("", "not_an_image")
    assert rows(tmp_path / "out", "review.csv") == [found["red/half.png"]]
    assert (summary.unsure, summary.min_confidence) == (1, mixed)
    assert sum(summary.labels.values()) == sum(plain.labels.values()) == 13


def test_another_threshold_needs_no_inference_and_leaves_no_old_list(
    night: Night, mixed: float, tmp_path: Path, inferred: list[int]
) -> None:
    night(min_confidence=mixed)
    count, parts = len(inferred), sorted((tmp_path / "out/parts").iterdir())
    assert night(min_confidence=1).unsure > 1
    listed = [float(row["confidence"]) for row in rows(tmp_path / "out", "review.csv")]
    assert listed == sorted(listed)
    assert night().unsure == 0
    assert len(inferred) == count + 2  # the self-tests of two more nights
    assert sorted((tmp_path / "out/parts").iterdir()) == parts
    assert not (tmp_path / "out/review.csv").exists()
    assert "guess" not in rows(tmp_path / "out")[0]


def test_a_filled_in_copy_of_the_list_is_a_table_of_labels(
    night: Night, mixed: float, tmp_path: Path
) -> None:
    night(min_confidence=mixed)
    text = (tmp_path / "out/predictions.csv").read_text()
    (tmp_path / "labels.csv").write_text(
        text.replace('"blue/000.jpg","blue"', '"blue/000.jpg","unsure"')
    )
    found = evaluate(EvaluateOptions(tmp_path / "out", tmp_path / "labels.csv"))
    assert (found.unlabelled, found.unknown) == (2, {})


def test_the_figures_do_not_depend_on_the_threshold_of_the_run(
    night: Night, mixed: float, tmp_path: Path
) -> None:
    night()
    plain = evaluate(EvaluateOptions(tmp_path / "out"))
    night(min_confidence=mixed)
    found = evaluate(EvaluateOptions(tmp_path / "out"))
    assert found.network is not None
    assert plain.network is not None
    assert found.network.document() == plain.network.document()
    assert plain.run_threshold is None
    assert found.run_threshold is not None
    assert (found.run_threshold.images, found.run_threshold.evaluated) == (12, 13)
    assert "1 of 13 images; 12 of the other 12 are correct (100 %, 95 % interval" in found.text()


def curve(right: np.ndarray, confidence: np.ndarray) -> metrics.RiskCoverage:
    return metrics.risk_coverage(right, confidence)


@pytest.mark.parametrize("target", [0.8, 0.95, 0.99])
def test_so_many_right_images_are_needed_as_is_said(target: float) -> None:
    count = images_required(target)
    random = np.random.default_rng(0)
    for images, shown in [(count, True), (count - 1, False)]:
        found = find_threshold(curve(np.full(images, True), random.random(images)), images, target)
        assert (found is not None) == shown


@given(st.integers(0, 2**32), st.floats(0.5, 0.99))
@settings(max_examples=50)
def test_a_threshold_keeps_what_it_says_and_shows_its_target(seed: int, target: float) -> None:
    random = np.random.default_rng(seed)
    confidence = random.choice(np.float32(random.random(random.integers(1, 300))), 800)
    right = random.random(800) < confidence**0.3
    found = find_threshold(curve(right, confidence), 800, target)
    if found is not None:
        kept = confidence >= found.min_confidence
        assert (found.images, found.correct) == (kept.sum(), right[kept].sum())
        wrong = found.images - found.correct
        assert binom.cdf(wrong, found.images, 1 - target) <= 0.05 / 20 * (1 + 1e-6)


def test_a_chosen_threshold_rarely_promises_too_much() -> None:
    """Of evaluations where accuracy is the confidence, at most one in twenty may mislead."""
    random = np.random.default_rng(1)
    promised = misled = 0
    for _ in range(200):
        confidence = 0.8 + 0.2 * random.random(1000)
        found = find_threshold(curve(random.random(1000) < confidence, confidence), 1000, 0.93)
        if found is not None:
            promised += 1
            misled += (found.min_confidence + 1) / 2 < 0.93
    assert promised > 50
    assert misled <= 0.05 * 200


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Pictures enough to show an accuracy of 0.8, one in the wrong folder."""
    colours.write_pictures(tmp_path / "labelled", each=12)
    (tmp_path / "labelled/red/000.jpg").rename(tmp_path / "labelled/green/wrong.jpg")
    return tmp_path / "labelled"


def test_a_run_takes_its_threshold_from_an_evaluation(
    night: Night, labelled: Path, tmp_path: Path, boatinfer: Command
) -> None:
    night(folder=labelled, out=tmp_path / "labelled-out")
    done = boatinfer("evaluate", tmp_path / "labelled-out", "--json", "--target-accuracy", "0.6")
    (tmp_path / "ev.json").write_text(done.out)
    shown = json.loads(done.out)["threshold"]
    assert shown["images"] >= images_required(0.6)
    options = {"target_accuracy": 0.6, "evaluation": tmp_path / "ev.json"}
    # The threshold is the confidence of one of the images that it was found with.
    again = night(folder=labelled, out=tmp_path / "labelled-out", **options)
    assert again.unsure == 36 - shown["images"]
    summary = night(**options)
    assert summary.min_confidence == shown["min_confidence"]
    written = json.loads((tmp_path / "out/run.json").read_text())
    assert (written["target_accuracy"], written["unsure"]) == (0.6, summary.unsure)
    said = boatinfer("evaluate", tmp_path / "labelled-out", "--target-accuracy", "0.99").out
    assert "36 evaluated images do not show an accuracy of 0.99" in said


def test_an_evaluation_that_does_not_fit_is_refused_before_any_work(
    night: Night, labelled: Path, tmp_path: Path, model_file: Path, boatinfer: Command
) -> None:
    night(folder=labelled, out=tmp_path / "labelled-out")
    evaluation, broken = tmp_path / "ev.json", tmp_path / "broken.json"
    evaluation.write_text(boatinfer("evaluate", tmp_path / "labelled-out", "--json").out)
    broken.write_text('{"network": {"risk_coverage": [{}]}}')
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(notes="another"))
    refused: list[tuple[dict[str, Any], str]] = [
        ({"target_accuracy": 0.99}, "at least 597 if all are correct"),
        ({"target_accuracy": 0.6, "model": other}, "is an evaluation of another model"),
        ({"target_accuracy": 0.6, "evaluation": broken}, "is no evaluation of a network"),
        ({"target_accuracy": 0.6, "evaluation": tmp_path / "no.json"}, "cannot be read"),
    ]
    for changes, said in refused:
        with pytest.raises(UsageError, match=said):
            night(**({"evaluation": evaluation} | changes))
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_confidence": 1.5}, "from 0 to 1"),
        ({"min_confidence": float("nan")}, "from 0 to 1"),
        ({"target_accuracy": 1.0, "evaluation": Path("x")}, "between 0 and 1"),
        ({"target_accuracy": 0.9}, "needs an --evaluation"),
        ({"evaluation": Path("x")}, "give one, such as"),
        ({"min_confidence": 0.5, "target_accuracy": 0.9}, "give one"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RunOptions(Path("x"), **options)


def test_a_model_with_a_class_of_that_name_is_refused(night: Night, tmp_path: Path) -> None:
    classes = ["red", "green", "unsure"]
    model = colours.write_model(tmp_path / "m.onnx", card=colours.card(classes=classes))
    with pytest.raises(UsageError, match="class 'unsure' of its own"):
        night(model=model, min_confidence=0.5)
