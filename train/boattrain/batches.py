"""Training images in random order, changed and blended, a batch at a time."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from boattrain.augment import Augmentation, augment, mixup
from boattrain.cache import Array
from boattrain.options import TrainOptions
from boattrain.pixels import Data

__all__ = ["Batch", "Batches", "balanced_weights"]


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        inputs: [B, ...], as the network takes them.
        targets: float32 [B, C], rows sum to 1.
        weights: float32 [B], how much each counts.
    """

    inputs: Array
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Batches:
    """The batches of a whole training, numbered from 0 over all epochs.

    Batch n is the same whoever asks for it, whenever and in whatever thread, so a training
    that was interrupted continues with the batches that were due.

    Attributes:
        inputs: [N, ...]: uint8 pixels [N, H, W, 3], or anything else if neither
            augmentation nor mixup is wanted.
        labels: int64 [N].
        class_weights: float32 [C], how much an image of each class counts.
        size: images in a batch; the last one of an epoch may have fewer.
        seed: of order, augmentation and mixup.
        augmentation: how images are changed.
        mixup: its alpha; 0 for none.
    """

    inputs: Array
    labels: npt.NDArray[np.int64]
    class_weights: npt.NDArray[np.float32]
    size: int
    seed: int
    augmentation: Augmentation
    mixup: float

    @classmethod
    def of(cls, inputs: Array, data: Data, options: TrainOptions) -> Batches:
        """Makes the batches of a training.

        Args:
            inputs: [N, ...], train's pixels or what was made of them.
            data: the labels are train's.
            options: size, seed, weights, augmentation and mixup.
        """
        labels, classes = data.train.labels, len(data.classes)
        weights = np.ones(classes, np.float32)
        if options.class_weights == "balanced":
            weights = balanced_weights(labels, classes)
        return cls(
            inputs=inputs,
            labels=labels,
            class_weights=weights,
            size=options.batch_size,
            seed=options.seed,
            augmentation=options,
            mixup=options.mixup,
        )

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self.labels) / self.size)

    def __getitem__(self, number: int) -> Batch:
        """Makes one batch."""
        epoch, step = divmod(number, self.steps)
        order = _order(self.seed, epoch, len(self.labels))
        # Sorted, because the rows may lie in a file.
        rows = np.sort(order[step * self.size : (step + 1) * self.size])
        generator = np.random.default_rng([self.seed, epoch, step])
        inputs = np.asarray(self.inputs[rows])
        targets = np.eye(len(self.class_weights), dtype=np.float32)[self.labels[rows]]
        if self.augmentation:
            inputs = augment(inputs, self.augmentation, generator)
        if self.mixup:
            inputs, targets = mixup(inputs, targets, self.mixup, generator)
        return Batch(inputs, targets, targets @ self.class_weights)

    def dataset(self, first: int = 0) -> Any:
        """Makes an endless ``tf.data.Dataset`` of batches, prepared in the background.

        Args:
            first: number of the batch to begin with.
        """
        import tensorflow as tf

        kinds = (self.inputs.dtype, np.float32, np.float32)
        shapes = ((None, *self.inputs.shape[1:]), (None, len(self.class_weights)), (None,))

        def make(number: Any) -> Any:
            made = tf.numpy_function(self.__getitem__, [number], kinds)
            return tuple(tf.ensure_shape(*pair) for pair in zip(made, shapes, strict=True))

        numbers = tf.data.Dataset.counter(first)
        return numbers.map(make, num_parallel_calls=tf.data.AUTOTUNE).prefetch(4)


def balanced_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Weighs classes by their rarity, so that each counts the same in all.

    Args:
        labels: int64 [N]; every class occurs.
        classes: how many there are, C.

    Returns:
        float32 [C], N / (C * images of the class).
    """
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * counts)).astype(np.float32)


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)
