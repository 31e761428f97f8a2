"""A moving average of a network's weights, which is often better than the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from boattrain.fitting.array_cache import Array

__all__ = ["Average"]


class Average:
    """An exponential moving average of weights, norms' statistics included.

    With decay ``d``, after step ``n`` the average moves by ``1 - min(d, (1 + n) / (10 + n))``
    of its distance to the weights, so that it soon forgets where it began (as TensorFlow's
    ``ExponentialMovingAverage`` with ``num_updates``).

    Args:
        weights: Keras variables of floats.
        decay: ``d``, below 1; 0 means the weights themselves.
    """

    def __init__(self, weights: Sequence[Any], decay: float) -> None:
        import tensorflow as tf

        self._weights = weights if decay else []
        self._averages = [tf.Variable(weight.value, trainable=False) for weight in self._weights]
        self._steps = tf.Variable(0.0)

        @tf.function  # type: ignore[untyped-decorator]
        def update() -> None:
            self._steps.assign_add(1.0)
            kept = tf.minimum(decay, (1 + self._steps) / (10 + self._steps))
            for average, weight in zip(self._averages, self._weights, strict=True):
                average.assign_sub((1 - kept) * (average - weight.value))

        self._update = update

    def update(self) -> None:
        """Takes in the weights as they are after a step."""
        if self._weights:
            self._update()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the averages in the weights' place for a while."""
        moving = [weight.numpy() for weight in self._weights]
        for weight, average in zip(self._weights, self._averages, strict=True):
            weight.assign(average)
        try:
            yield
        finally:
            for weight, value in zip(self._weights, moving, strict=True):
                weight.assign(value)

    @property
    def state(self) -> list[Array]:
        """All that `restore` needs."""
        return [np.asarray(variable) for variable in (self._steps, *self._averages)]

    def restore(self, state: Sequence[Array]) -> None:
        """Continues where another average was."""
        for variable, value in zip((self._steps, *self._averages), state, strict=True):
            variable.assign(value)
