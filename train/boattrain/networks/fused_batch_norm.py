"""Batch normalisation as a single TensorFlow operation, for faster training."""

from __future__ import annotations

import functools
from typing import Any

from boattrain.backend import load_keras
from boattrain.networks.base import INPUT

__all__ = ["with_fused_batch_norm"]


def with_fused_batch_norm(model: Any, shape: tuple[int, ...]) -> Any:
    """Clones a model with fused batch normalisation, sharing the weights.

    Keras computes mean, variance and the rest in separate passes over the memory, which takes
    most of the time of a small network. The moving variance is the unbiased one (Bessel's
    correction), n / (n - 1) times that of Keras, n being N * H * W.

    Args:
        model: a functional Keras model with one input, whose weights do not depend on its size.
            Batch normalisation on another axis than the last of [N, H, W, C], or without scale
            or offset, stays as it is.
        shape: input shape [H, W, 3] of the new model.

    Returns:
        A ``keras.Model`` to train and predict with; it cannot be saved, as its batch
        normalisation layers are not of Keras.
    """
    keras = load_keras()
    image = keras.Input(shape, dtype="uint8", name=INPUT)
    fused_layer = _fused_layer_class()

    def replace(layer: Any) -> Any:
        return fused_layer(layer) if _is_fusible(layer) else layer

    return keras.models.clone_model(model, input_tensors=image, clone_function=replace)


def _is_fusible(layer: Any) -> bool:
    if not isinstance(layer, load_keras().layers.BatchNormalization):
        return False
    on_channels = len(layer.input.shape) == 4 and layer.axis in {-1, 3}
    return bool(on_channels and layer.scale and layer.center)


@functools.cache
def _fused_layer_class() -> type[Any]:
    """Defines the layer class, here since that needs Keras to be loaded."""
    import tensorflow as tf

    class FusedBatchNormalization(load_keras().layers.Layer):  # type: ignore[misc]
        """Computes a batch normalisation layer as one operation in training."""

        def __init__(self, norm: Any) -> None:
            super().__init__()
            self.norm = norm

        def call(self, x: Any, training: bool = False, mask: None = None) -> Any:
            """Normalises x, float32 [N, H, W, C].

            The signature is that of the original layer, as the clone is called the same way.
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

    return FusedBatchNormalization
