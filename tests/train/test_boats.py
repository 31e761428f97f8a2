from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.models.card import ImageSpec
from boattrain import boats
from boattrain.boats import BOATS, Halved
from boattrain.networks import FEATURES
from boattrain.options import BoatsOptions
from boattrain.training import train_boats

SPEC = ImageSpec(height=68, width=68)
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 68, 68, 3), np.uint8)


@given(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_a_halved_pixel_is_the_mean_of_four(count: int, height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    halved = Halved(pixels)
    even = pixels[:, : height // 2 * 2, : width // 2 * 2].astype(float)
    means = even.reshape(count, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4))
    assert halved[:].shape == halved.shape
    assert halved[:].dtype == halved.dtype
    assert np.abs(halved[:] - means).max() <= 0.5
    np.testing.assert_array_equal(halved[np.array([0])], halved[:1])


def test_untrained_attention_is_the_mean_over_the_places(keras: ModuleType) -> None:
    network = BOATS.build(SPEC, 3)
    features = network.get_layer(FEATURES)
    places = next(layer for layer in reversed(network.layers) if layer.name.startswith("re_lu"))
    both = keras.Model(network.input, [places.output, features.output])
    found, pooled = both.predict_on_batch(PICTURES)
    np.testing.assert_allclose(pooled, found.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_calibration_sharpens_the_probabilities_and_keeps_their_order() -> None:
    network = BOATS.build(SPEC, 3)
    before = network.predict_on_batch(PICTURES)
    after = BOATS.finish(network, None).predict_on_batch(PICTURES)  # type: ignore[arg-type]
    logits = np.log(before) / boats._TEMPERATURE
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after, expected, rtol=1e-4)


@pytest.mark.usefixtures("uncompiled")
def test_it_learns_at_half_the_size_and_then_at_the_whole(data: Path, tmp_path: Path) -> None:
    result = train_boats(
        BoatsOptions(data, tmp_path / "m.keras", "66x70", epochs=1, half_epochs=1, batch_size=8)
    )
    stages = [epoch.stage for epoch in result.fitted.history]
    assert stages == ["half", "whole"]
    assert result.fitted.best.epoch == len(stages)  # the last one, whatever valid says
    card = json.loads(result.files.card.read_text())
    assert card["features"] == {"dimension": 160, "layer": FEATURES}
