from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from boatinfer.images.spec import ImageSpec
from boattrain.fitting.losses import compile_for_training
from boattrain.networks.base import CNN, FEATURES, INPUT, PROBABILITIES, build_cnn
from boattrain.options import CnnOptions

SPEC = ImageSpec(height=30, width=100)
SMALLEST = ImageSpec(height=CNN.min_size, width=CNN.min_size)


def test_layers_are_those_of_the_tutorial(keras: ModuleType) -> None:
    model = build_cnn(SPEC, 16)

    assert [(type(layer).__name__, layer.output.shape) for layer in model.layers] == [
        ("Rescaling", (None, 30, 100, 3)),
        ("Conv2D", (None, 26, 96, 30)),
        ("MaxPooling2D", (None, 13, 48, 30)),
        ("Conv2D", (None, 11, 46, 15)),
        ("MaxPooling2D", (None, 5, 23, 15)),
        ("Dropout", (None, 5, 23, 15)),
        ("Flatten", (None, 5 * 23 * 15)),
        ("Dense", (None, 128)),
        ("Dense", (None, 50)),
        ("Dense", (None, 16)),
    ]
    assert model.count_params() == sum(
        (inputs + 1) * outputs
        for inputs, outputs in [
            (5 * 5 * 3, 30),
            (3 * 3 * 30, 15),
            (5 * 23 * 15, 128),
            (128, 50),
            (50, 16),
        ]
    )
    activations = [
        layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")
    ]
    assert activations == ["relu", "relu", "relu", "relu", "softmax"]
    assert model.get_layer(index=5).rate == 0.2


def test_loss_and_optimizer_are_those_of_the_tutorial(keras: ModuleType) -> None:
    model = build_cnn(SMALLEST, 2)
    compile_for_training(model, CnnOptions(Path("data")), np.array([0, 1]))

    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    loss = model.loss(np.eye(2, dtype=np.float32), probabilities)
    assert float(loss) == pytest.approx(-np.log([0.25, 0.5]).mean(), rel=1e-5)


def test_input_and_outputs_have_the_names_of_the_card(keras: ModuleType) -> None:
    model = build_cnn(SPEC, 16)

    assert [(tensor.name, tensor.dtype) for tensor in model.inputs] == [(INPUT, "uint8")]
    assert model.outputs == [model.get_layer(PROBABILITIES).output]
    assert model.get_layer(FEATURES).output.shape == (None, 50)


def test_raw_pixels_are_scaled_in_the_graph(keras: ModuleType) -> None:
    model = build_cnn(SMALLEST, 2)
    pixels = np.full((1, CNN.min_size, CNN.min_size, 3), 255, np.uint8)

    scaled = keras.Model(model.inputs, model.layers[0].output).predict(pixels, verbose=0)

    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, 1.0, rtol=1e-6)


def test_one_pixel_less_than_the_smallest_size_is_too_small(keras: ModuleType) -> None:
    build_cnn(SMALLEST, 2)
    for height, width in [(CNN.min_size - 1, CNN.min_size), (CNN.min_size, CNN.min_size - 1)]:
        with pytest.raises(ValueError, match="zero or negative"):
            build_cnn(ImageSpec(height=height, width=width), 2)
