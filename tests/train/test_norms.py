from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from boattrain.networks.fused_batch_norm import with_fused_batch_norm

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), np.uint8)
TARGETS = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1, 0]]


def network(keras: ModuleType, shape: tuple[int, ...] = PIXELS.shape[1:]) -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input(shape, dtype="uint8", name="image")
    x = layers.Conv2D(4, 3, use_bias=False)(layers.Rescaling(1 / 64)(image))
    x = layers.BatchNormalization(momentum=0.9, epsilon=0.05, name="norm")(x)
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
    found = trained(keras, model, with_fused_batch_norm(model, PIXELS.shape[1:]))
    names = [weight.path for weight in model.weights]
    for name, before, after, wanted in zip(names, started, found, known, strict=True):
        # Keras's moving variance is the biased one, of 6 * 6 * 8 values. It was 1 at first, of
        # which 0.9 ** 3 is left after three steps.
        start, factor = (0.9**3, 288 / 287) if name.endswith("moving_variance") else (0, 1)
        expected = start + (wanted - start) * factor
        np.testing.assert_allclose(after, expected, rtol=1e-3, atol=1e-5, err_msg=name)
        assert not np.allclose(before, after, atol=1e-3), name


def test_it_predicts_what_the_network_predicts_at_any_size(keras: ModuleType) -> None:
    model = network(keras)
    trained(keras, model, with_fused_batch_norm(model, PIXELS.shape[1:]))
    np.testing.assert_array_equal(
        with_fused_batch_norm(model, PIXELS.shape[1:]).predict_on_batch(PIXELS),
        model.predict_on_batch(PIXELS),
    )
    larger = PIXELS.repeat(2, axis=1).repeat(3, axis=2)
    plain = network(keras, larger.shape[1:])
    plain.set_weights(model.get_weights())
    found = with_fused_batch_norm(model, larger.shape[1:]).predict_on_batch(larger)
    np.testing.assert_allclose(found, plain.predict_on_batch(larger), rtol=1e-6)


def test_a_frozen_norm_stays_as_it_is(keras: ModuleType) -> None:
    plain, model = network(keras), network(keras)
    for frozen in (plain, model):
        frozen.get_layer("norm").trainable = False
    known = trained(keras, plain, plain)
    found = trained(keras, model, with_fused_batch_norm(model, PIXELS.shape[1:]))
    for after, wanted in zip(found, known, strict=True):
        np.testing.assert_allclose(after, wanted, rtol=1e-5, atol=1e-6)


def test_the_network_is_saved_without_them(keras: ModuleType, tmp_path: Path) -> None:
    model = network(keras)
    trained(keras, model, with_fused_batch_norm(model, PIXELS.shape[1:]))
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(PIXELS), model.predict_on_batch(PIXELS))


def test_norms_of_another_kind_are_left_alone(keras: ModuleType) -> None:
    layers = keras.layers
    image = keras.Input((8, 10, 3), dtype="uint8", name="image")
    x = layers.BatchNormalization(axis=1)(layers.Rescaling(1 / 64)(image))
    x = layers.BatchNormalization(scale=False)(layers.BatchNormalization(center=False)(x))
    x = layers.BatchNormalization()(layers.Flatten()(x))
    model = keras.Model(image, layers.Dense(2, activation="softmax")(x))
    fit = with_fused_batch_norm(model, PIXELS.shape[1:])
    norm = layers.BatchNormalization
    assert sum(isinstance(layer, norm) for layer in fit.layers) == 4
    trained(keras, model, fit)
