from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.errors import UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.signals import Stop
from boattrain.fitting.checkpoint import Checkpoint, TrainingState
from boattrain.fitting.pixels import Split, TrainingData
from boattrain.networks.base import FEATURES
from boattrain.networks.boats import BOATS, HalfResolution
from boattrain.options import BoatsOptions
from boattrain.training import fit, train_boats

SPEC = ImageSpec(height=68, width=68)
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 68, 68, 3), np.uint8)


@given(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_a_halved_pixel_is_the_mean_of_four(count: int, height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    halved = HalfResolution(pixels)
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


def test_it_is_trained_at_half_the_size_and_then_at_the_whole_at_half_the_rate(
    keras: ModuleType,
) -> None:
    network, labels = BOATS.build(SPEC, 3), np.arange(3)
    split = Split(PICTURES, labels, [], {}, {})
    data = TrainingData(["a", "b", "c"], SPEC, split, split)
    options = BoatsOptions(Path("data"), size="68x68", epochs=5, half_epochs=7, batch_size=2)
    half, whole = BOATS.stages(network, data, options)
    assert (half.options.epochs, whole.options.epochs) == (7, 5)
    assert half.options.learning_rate == 2 * whole.options.learning_rate
    for stage, side in ((half, 34), (whole, 68)):
        model, train, valid = stage.prepare(lambda: None)
        assert model.input_shape[1:3] == (side, side)
        assert train[0].inputs.shape == (2, side, side, 3)
        assert np.asarray(valid[:]).shape == (3, side, side, 3)
        names = [type(layer).__name__ for layer in model.layers]
        assert "FusedBatchNormalization" in names
        assert "BatchNormalization" not in names
        variables = {id(variable) for variable in network.trainable_variables}
        assert {id(variable) for variable in model.trainable_variables} == variables
    (alone,) = BOATS.stages(network, data, dataclasses.replace(options, half_epochs=0))
    assert alone.options.learning_rate == half.options.learning_rate


def test_too_little_memory_is_told_before_the_first_stage(keras: ModuleType) -> None:
    split = Split(PICTURES, np.arange(3), [], {}, {})
    options = BoatsOptions(Path("data"), size="68x68", batch_size=10**8)
    with pytest.raises(UsageError, match="smaller --batch-size or --size"):
        BOATS.stages(
            BOATS.build(SPEC, 3), TrainingData(["a", "b", "c"], SPEC, split, split), options
        )


@pytest.mark.usefixtures("uncompiled")
def test_a_training_resumed_at_the_whole_size_equals_an_undisturbed_one(tmp_path: Path) -> None:
    split = Split(PICTURES, np.arange(3), [], {}, {})
    data = TrainingData(["a", "b", "c"], SPEC, split, split)

    def run(folder: str, epochs: int, resume: bool = False) -> Any:
        options = BoatsOptions(
            Path("data"), size="68x68", half_epochs=1, epochs=epochs, schedule="constant"
        )
        checkpoint = Checkpoint(tmp_path / folder, {})
        state = checkpoint.load() if resume else TrainingState()
        return fit(options, BOATS, data, checkpoint, Stop(), state=state)

    undisturbed, first = run("undisturbed", epochs=2)
    run("resumed", epochs=1)
    resumed, second = run("resumed", epochs=2, resume=True)
    assert second.history == first.history
    assert all(map(np.array_equal, resumed.get_weights(), undisturbed.get_weights()))


@pytest.mark.usefixtures("uncompiled")
def test_it_learns_at_half_the_size_and_then_at_the_whole(data: Path, tmp_path: Path) -> None:
    result = train_boats(
        BoatsOptions(data, tmp_path / "m.keras", "66x70", epochs=1, half_epochs=1, batch_size=8)
    )
    stages = [epoch.stage for epoch in result.fit.history]
    assert stages == ["half", "whole"]
    assert result.fit.best.epoch == len(stages)  # the last one, whatever valid says
    card = json.loads(result.files.card.read_text())
    assert card["features"] == {"dimension": 160, "layer": FEATURES}
