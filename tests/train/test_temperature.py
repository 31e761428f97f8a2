"""Temperature scaling of the confidence."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.analysis.metrics import calibration_error
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import decode_card
from boattrain.fitting.temperature import apply_temperature, fit_temperature, scaled
from boattrain.networks.base import build_cnn
from support import Command


def outcomes(sharpness: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logits are ``sharpness`` times the true ones, and labels."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, 5)) * 2
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (true.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return scaled(true, 1 / sharpness), labels


@given(sharpness=st.floats(0.3, 4))
def test_the_temperature_undoes_what_made_it_too_sure(sharpness: float) -> None:
    probabilities, labels = outcomes(sharpness)
    temperature = fit_temperature(probabilities, labels)
    assert temperature == pytest.approx(sharpness, rel=0.06)
    assert calibration_error(labels, scaled(probabilities, temperature)) < 0.025


def test_a_few_images_that_are_all_right_do_not_make_it_certain() -> None:
    labels = np.array([0, 1, 2])
    probabilities = np.full((3, 3), 0.1)
    probabilities[labels, labels] = 0.8
    assert 0.5 < fit_temperature(probabilities, labels) < 1
    many = fit_temperature(np.tile(probabilities, (100, 1)), np.tile(labels, 100))
    assert many < 0.5


def test_the_last_layer_has_it(keras: ModuleType) -> None:
    model = build_cnn(ImageSpec(height=12, width=12), 3)
    pixels = np.random.default_rng(0).integers(0, 255, (8, 12, 12, 3), dtype=np.uint8)
    before = model.predict_on_batch(pixels)
    apply_temperature(model, 0.25)
    np.testing.assert_allclose(model.predict_on_batch(pixels), scaled(before, 0.25), rtol=1e-3)


def test_a_training_stores_its_temperature(data: Path, tmp_path: Path, boatinfer: Command) -> None:
    model = tmp_path / "model.keras"
    done = boatinfer("train", "cnn", data, "-o", model, "--size", "12x12", "--epochs", 1)
    assert done.code == 0, done.err
    card = decode_card(model.with_suffix(".card.json").read_bytes(), "card")
    assert card.training is not None
    assert card.training.temperature is not None
    assert card.training.temperature != 1
    report = json.loads(model.with_suffix(".report.json").read_text())
    assert report["data"]["temperature"] == card.training.temperature
    assert report["valid"]["calibration"]
