"""Batch norms that train in fewer passes over the memory."""

from __future__ import annotations

import functools
from typing import Any

from boattrain.backend import load_keras
from boattrain.networks import INPUT

__all__ = ["fused"]


def fused(model: Any, shape: tuple[int, ...]) -> Any:
    """Makes a model of the same layers whose batch norms train as one operation of TensorFlow.

    Keras computes mean, variance and the rest one after the other, which takes most of the
    time of a small network. The moving variance is that of Bessel, n / (n - 1) times Keras's.

    Args:
        model: a functional Keras model with one input, whose weights depend on no size.
        shape: [H, W, 3] of the images that the new model takes.

    Returns:
        A ``keras.Model`` that shares all weights with ``model``; it is for training only.
    """
    keras = load_keras()
    image = keras.Input(shape, dtype="uint8", name=INPUT)

    def replace(layer: Any) -> Any:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        return _fused_norm()(layer) if is_norm else layer

    return keras.models.clone_model(model, input_tensors=image, clone_function=replace)


@functools.cache
def _fused_norm() -> type[Any]:
    """Defines the layer, once Keras is there."""
    import tensorflow as tf

    class FusedNorm(load_keras().layers.Layer):  # type: ignore[misc]
        """Trains a batch norm over the last axis, and is that norm otherwise."""

        def __init__(self, norm: Any) -> None:
            super().__init__()
            self.norm = norm

        def build(self, _: tuple[int, ...]) -> None:
            """Has no weights of its own."""

        def call(self, x: Any, training: bool = False, mask: Any = None) -> Any:
            """Normalises x, float32 [N, H, W, C]; there are no masks here."""
            norm = self.norm
            if not (training and norm.trainable):
                return norm(x, training=False)
            y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                x, norm.gamma.value, norm.beta.value, epsilon=norm.epsilon, is_training=True
            )
            for moving, new in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
                moving.assign(moving * norm.momentum + new * (1 - norm.momentum))
            return y

    return FusedNorm
