from __future__ import annotations

from types import ModuleType

import pytest

from boatinfer.errors import UsageError
from boatinfer.images.spec import ImageSpec
from boattrain.fitting.memory import enough_memory, training_bytes
from boattrain.networks.base import build_cnn


def test_the_estimate_is_that_of_the_layers(keras: ModuleType) -> None:
    model = build_cnn(ImageSpec(height=12, width=12), 2)
    values = [8 * 8 * 30, 4 * 4 * 30, 2 * 2 * 15, 15, 15, 15, 128, 50, 2]
    weights = 75 * 30 + 30 + 270 * 15 + 15 + 15 * 128 + 128 + 128 * 50 + 50 + 100 + 2
    assert training_bytes(model, 7) == 4 * (7 * sum(values) + 3 * weights)
    for layer in model.layers[:-1]:
        layer.trainable = False
    assert training_bytes(model, 7) == 4 * (7 * 2 + 3 * 102)


def test_too_little_is_said_before_it_is_needed(
    keras: ModuleType,
) -> None:
    model = build_cnn(ImageSpec(height=12, width=12), 2)
    with enough_memory(model, 32):
        pass
    sentence = r"batches of 1000000000 images needs at least [\d,.]+ GB of memory, and .* are free"
    with pytest.raises(UsageError, match=sentence), enough_memory(model, 10**9):
        raise AssertionError("it must not begin")


def test_running_out_of_it_is_a_sentence_too(keras: ModuleType) -> None:
    import tensorflow as tf

    model = build_cnn(ImageSpec(height=12, width=12), 2)
    for error in (MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM")):
        with (
            pytest.raises(UsageError, match="use a smaller --batch-size"),
            enough_memory(model, 32),
        ):
            raise error
