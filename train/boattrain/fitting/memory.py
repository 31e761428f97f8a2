"""Whether a training fits into the memory, before it is begun."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from boatinfer.errors import UsageError
from boatinfer.memory import free_memory

__all__ = ["enough_memory", "require_memory", "training_bytes"]


def training_bytes(model: Any, batch_size: int) -> int:
    """Estimates what one step needs, from below.

    That is the outputs of all layers from the first that is trained on, which wait for
    their gradients, and three times the weights that are trained.

    Args:
        model: a functional or sequential Keras model; a layer of it that is another model's
            too counts at the size of the model that it was first in.
        batch_size: images in a step.
    """
    from keras import tree

    trained = [bool(layer.trainable_weights) for layer in model.layers]
    kept = model.layers[trained.index(True) :]
    outputs = [tensor for layer in kept for tensor in tree.flatten(layer.output)]
    values: int = sum(math.prod(tensor.shape[1:]) for tensor in outputs)
    weights: int = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return 4 * (batch_size * values + 3 * weights)


def require_memory(model: Any, batch_size: int) -> None:
    """Refuses a training that the memory does not hold, before any long work.

    Raises:
        UsageError: it does not; nobody knows how much memory a GPU has left.
    """
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        free = free_memory()
        if training_bytes(model, batch_size) > free:
            raise _too_little(model, batch_size, f"{free / 1e9:,.1f} GB are free")


@contextlib.contextmanager
def enough_memory(model: Any, batch_size: int) -> Iterator[None]:
    """Refuses a training that the memory does not hold, before it or when it shows.

    Raises:
        UsageError: it does not.
    """
    import tensorflow as tf

    require_memory(model, batch_size)
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise _too_little(model, batch_size, "that is more than there is") from error


def _too_little(model: Any, batch_size: int, free: str) -> UsageError:
    return UsageError(
        f"training on batches of {batch_size} images needs at least "
        f"{training_bytes(model, batch_size) / 1e9:,.1f} GB of memory, and {free}; take a smaller "
        "--batch-size or --size."
    )
