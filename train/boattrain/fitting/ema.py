"""Exponential moving average of the weights of a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from boattrain.fitting.array_cache import Array

__all__ = ["WeightAverage"]


class WeightAverage:
    """An exponential moving average of weights, including those of batch normalisation.

    After step ``n`` the decay is ``min(decay, (1 + n) / (10 + n))``, so that the initial weights
    are soon forgotten (as TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``).

    Args:
        weights: floating-point Keras variables.
        decay: largest decay, below 1; 0 disables averaging.
    """

    def __init__(self, weights: Sequence[Any], decay: float) -> None:
        import tensorflow as tf

        self._weights = weights if decay else []
        self._averages = [tf.Variable(weight.value, trainable=False) for weight in self._weights]
        self._steps = tf.Variable(0.0)

        @tf.function  # type: ignore[untyped-decorator]
        def update() -> None:
            self._steps.assign_add(1.0)
            current_decay = tf.minimum(decay, (1 + self._steps) / (10 + self._steps))
            for average, weight in zip(self._averages, self._weights, strict=True):
                average.assign_sub((1 - current_decay) * (average - weight.value))

        self._update = update

    def update(self) -> None:
        """Updates the averages after a training step."""
        if self._weights:
            self._update()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Replaces the weights by their averages within the context."""
        current = [weight.numpy() for weight in self._weights]
        for weight, average in zip(self._weights, self._averages, strict=True):
            weight.assign(average)
        try:
            yield
        finally:
            for weight, value in zip(self._weights, current, strict=True):
                weight.assign(value)

    @property
    def state(self) -> list[Array]:
        """The state to save in a checkpoint, for `restore`."""
        return [np.asarray(variable) for variable in (self._steps, *self._averages)]

    def restore(self, state: Sequence[Array]) -> None:
        """Restores a saved state."""
        for variable, value in zip((self._steps, *self._averages), state, strict=True):
            variable.assign(value)
