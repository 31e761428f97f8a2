from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from boattrain.norms import fused

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), np.uint8)
TARGETS = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1, 0]]


def network(keras: ModuleType) -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((8, 10, 3), dtype="uint8", name="image")
    x = layers.Conv2D(4, 3, use_bias=False)(layers.Rescaling(1 / 64)(image))
    x = layers.BatchNormalization(momentum=0.9, name="norm")(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


def trained(keras: ModuleType, model: Any, fit: Any) -> Any:
    fit.compile(keras.optimizers.SGD(0.5), "categorical_crossentropy")
    for _ in range(3):
        fit.train_on_batch(PIXELS, TARGETS)
    return model.get_weights()


def test_it_learns_what_keras_learns(keras: ModuleType) -> None:
    plain, model = network(keras), network(keras)
    started = model.get_weights()
    known = trained(keras, plain, plain)
    found = trained(keras, model, fused(model, PIXELS.shape[1:]))
    names = [weight.path for weight in model.weights]
    for name, before, after, wanted in zip(names, started, found, known, strict=True):
        # Keras's moving variance is the biased one, of 6 * 6 * 8 values. It was 1 at first, of
        # which 0.9 ** 3 is left after three steps.
        start, factor = (0.9**3, 288 / 287) if name.endswith("moving_variance") else (0, 1)
        expected = start + (wanted - start) * factor
        np.testing.assert_allclose(after, expected, rtol=1e-3, atol=1e-5, err_msg=name)
        assert not np.allclose(before, after, atol=1e-3), name


def test_untrained_it_says_what_the_network_says_at_any_size(keras: ModuleType) -> None:
    model = network(keras)
    trained(keras, model, fused(model, PIXELS.shape[1:]))
    np.testing.assert_array_equal(
        fused(model, PIXELS.shape[1:]).predict_on_batch(PIXELS), model.predict_on_batch(PIXELS)
    )
    assert fused(model, (20, 30, 3)).predict_on_batch(np.zeros((1, 20, 30, 3))).shape == (1, 2)


def test_a_frozen_norm_keeps_its_statistics(keras: ModuleType) -> None:
    model = network(keras)
    norm = model.get_layer("norm")
    norm.trainable = False
    before = norm.get_weights()
    trained(keras, model, fused(model, PIXELS.shape[1:]))
    for was, is_now in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(was, is_now)


@pytest.mark.parametrize("count", [1, 3])
def test_the_network_itself_stays_plain(keras: ModuleType, count: int) -> None:
    model = network(keras)
    for _ in range(count):
        fused(model, PIXELS.shape[1:])
    assert [type(layer).__module__.split(".")[0] for layer in model.layers] == ["keras"] * 7
    assert len(model.get_weights()) == len(keras.models.clone_model(model).get_weights())
