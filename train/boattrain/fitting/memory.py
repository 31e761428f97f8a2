"""Checks that a training fits into memory before it starts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from boatinfer.errors import UsageError
from boatinfer.memory import free_memory

__all__ = ["enough_memory", "require_memory", "training_bytes"]


def training_bytes(model: Any, batch_size: int) -> int:
    """Computes a lower bound of the memory that one training step needs.

    It counts the outputs of all layers from the first trainable one on, which are kept for
    backpropagation, and three times the trainable weights.

    Args:
        model: a functional or sequential Keras model; a layer shared with another model counts
            with its output shape in the model that it was first used in.
        batch_size: images per step.
    """
    from keras import tree

    trainable = [bool(layer.trainable_weights) for layer in model.layers]
    layers = model.layers[trainable.index(True) :]
    outputs = [tensor for layer in layers for tensor in tree.flatten(layer.output)]
    values: int = sum(math.prod(tensor.shape[1:]) for tensor in outputs)
    weights: int = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return 4 * (batch_size * values + 3 * weights)


def require_memory(model: Any, batch_size: int) -> None:
    """Checks, before any long work, that there is enough memory; not on a GPU.

    Raises:
        UsageError: there is not enough free memory.
    """
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        free = free_memory()
        if training_bytes(model, batch_size) > free:
            raise _not_enough_memory(model, batch_size, f"{free / 1e9:,.1f} GB are free")


@contextlib.contextmanager
def enough_memory(model: Any, batch_size: int) -> Iterator[None]:
    """Reports a lack of memory, before the training or when an allocation in it fails.

    Raises:
        UsageError: there is not enough memory.
    """
    import tensorflow as tf

    require_memory(model, batch_size)
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise _not_enough_memory(model, batch_size, "there is less") from error


def _not_enough_memory(model: Any, batch_size: int, available: str) -> UsageError:
    return UsageError(
        f"training on batches of {batch_size} images needs at least "
        f"{training_bytes(model, batch_size) / 1e9:,.1f} GB of memory, and {available}; use a "
        "smaller --batch-size or --size."
    )
