"""Batch norms that train as one operation."""

from __future__ import annotations

import functools
from typing import Any

from boattrain.backend import load_keras
from boattrain.networks.base import INPUT

__all__ = ["fused"]


def fused(model: Any, shape: tuple[int, ...]) -> Any:
    """Makes a model of the same layers whose batch norms train as one operation of TensorFlow.

    Keras computes mean, variance and the rest one after the other, each a pass over the memory,
    which takes most of the time of a small network. The moving variance is the unbiased one
    (Bessel's correction), n / (n - 1) times what Keras keeps, n being N * H * W.

    Args:
        model: a functional Keras model with one input, whose weights depend on no size; norms
            that are not over the last axis of [N, H, W, C], or lack scale or offset, stay as
            they are.
        shape: [H, W, 3] of the images that the new model takes.

    Returns:
        A ``keras.Model`` that shares all weights with ``model``. It learns and predicts, but it
        is not to be saved: its norms are no layers of Keras.
    """
    keras = load_keras()
    image = keras.Input(shape, dtype="uint8", name=INPUT)
    fused_norm = _fused_norm()

    def replace(layer: Any) -> Any:
        return fused_norm(layer) if _can_be_fused(layer) else layer

    return keras.models.clone_model(model, input_tensors=image, clone_function=replace)


def _can_be_fused(layer: Any) -> bool:
    if not isinstance(layer, load_keras().layers.BatchNormalization):
        return False
    over_channels = len(layer.input.shape) == 4 and layer.axis in {-1, 3}
    return bool(over_channels and layer.scale and layer.center)


@functools.cache
def _fused_norm() -> type[Any]:
    """Defines the layer; not at the top, as its base class is Keras's."""
    import tensorflow as tf

    class FusedNorm(load_keras().layers.Layer):  # type: ignore[misc]
        """Trains a batch norm as one operation, and is that norm otherwise."""

        def __init__(self, norm: Any) -> None:
            super().__init__()
            self.norm = norm

        def call(self, x: Any, training: bool = False, mask: None = None) -> Any:
            """Normalises x, float32 [N, H, W, C].

            The cloning repeats all arguments of the norm's own call, the mask among them.
            """
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
