from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from boattrain.fitting.losses import compile_for_training, cross_entropy, make_schedule
from boattrain.options import CnnOptions

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], np.float32)
TARGETS = np.array([[1, 0, 0], [0, 0.5, 0.5]], np.float32)


def options(**chosen: Any) -> CnnOptions:
    return CnnOptions(Path("data"), **chosen)


def compiled(keras: ModuleType, **chosen: Any) -> Any:
    dense = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((2,)), dense])
    compile_for_training(model, options(**chosen), np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2]))
    return model


def test_cross_entropy() -> None:
    truth = np.array([0, 2])
    assert cross_entropy(truth, PROBABILITIES) == pytest.approx(-np.log([0.7, 0.4]).mean())
    assert np.isfinite(cross_entropy(truth, np.zeros((2, 3), np.float32)))


def test_label_smoothing_shares_a_part_among_all_classes(keras: ModuleType) -> None:
    smooth = TARGETS * 0.7 + 0.1
    expected = -(smooth * np.log(PROBABILITIES)).sum(axis=1).mean()
    loss = compiled(keras, label_smoothing=0.3).loss
    assert float(loss(TARGETS, PROBABILITIES)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_logit_adjustment_adds_the_prior_to_the_logits(keras: ModuleType, smoothing: float) -> None:
    raised = PROBABILITIES * np.array([0.6, 0.3, 0.1]) ** 2
    adjusted = raised / raised.sum(axis=1, keepdims=True)
    smooth = TARGETS * (1 - smoothing) + smoothing / 3
    expected = -(smooth * np.log(adjusted)).sum(axis=1)
    loss = compiled(keras, logit_adjustment=2, label_smoothing=smoothing).loss
    assert np.asarray(loss(TARGETS, PROBABILITIES)) == pytest.approx(expected, rel=1e-4)


def test_optimizers(keras: ModuleType) -> None:
    sgd = compiled(keras, optimizer="sgd", learning_rate=0.5).optimizer
    assert isinstance(sgd, keras.optimizers.SGD)
    assert (sgd.momentum, float(sgd.learning_rate)) == (0.9, 0.5)


def test_weight_decay_spares_biases(keras: ModuleType) -> None:
    model = compiled(keras, optimizer="adamw", learning_rate=0.1, weight_decay=0.5)
    kernel, bias = model.trainable_variables
    model.set_weights([np.ones((2, 3)), np.ones(3)])
    model.optimizer.build([kernel, bias])
    model.optimizer.apply([kernel * 0, bias * 0])
    assert kernel.numpy() == pytest.approx(0.95)
    assert bias.numpy() == pytest.approx(1)


def rates(**chosen: Any) -> list[float]:
    schedule = make_schedule(options(learning_rate=0.8, epochs=3, **chosen), 4)
    return [float(schedule(step)) for step in range(12)]


@pytest.mark.usefixtures("keras")
def test_a_constant_rate_is_constant() -> None:
    assert rates() == pytest.approx([0.8] * 12, rel=1e-6)


@pytest.mark.usefixtures("keras")
def test_the_cosine_falls_from_the_rate_to_nothing() -> None:
    found = rates(schedule="cosine")
    assert found[0] == pytest.approx(0.8, rel=1e-6)
    assert found[6] == pytest.approx(0.4)
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.02


@pytest.mark.usefixtures("keras")
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_warm_up_rises_in_a_straight_line(schedule: str) -> None:
    found = rates(schedule=schedule, warmup=1)
    assert found[:4] == pytest.approx([0.16, 0.32, 0.48, 0.64])
    assert found[4] == max(found) == pytest.approx(0.8, rel=1e-6)
    assert rates(schedule=schedule, warmup=5)[-1] == pytest.approx(0.8 * 12 / 21)  # it never ends


@pytest.mark.usefixtures("keras")
@pytest.mark.parametrize("warmup", [0, 0.1, 1, 1.6])
def test_the_cosine_is_that_of_the_formula(warmup: float) -> None:
    begun = 4 * warmup
    expected = [
        0.8 * (step + 1) / (begun + 1)
        if step < begun
        else 0.4 * (1 + math.cos(math.pi * (step - begun) / (12 - begun)))
        for step in range(12)
    ]
    assert rates(schedule="cosine", warmup=warmup) == pytest.approx(expected, rel=1e-6, abs=1e-7)
