"""Training batches: random order, oversampling, augmentation and mixup."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from boattrain.augment import Augmentation, augment, mixup
from boattrain.fitting.array_cache import Array
from boattrain.fitting.pixels import TrainingData
from boattrain.options import TrainOptions

__all__ = ["Batch", "Batches", "InputRows", "balanced_weights"]


class InputRows(Protocol):
    """Inputs of a network, [N, ...]: an array, or an object that computes rows on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""

    @property
    def dtype(self) -> Any:
        """As of an array."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Returns some rows as an array; ``rows`` is a slice or int64 [n]."""


class Batch(NamedTuple):
    """The batch of one training step.

    Attributes:
        inputs: [B, ...], inputs of the network.
        targets: float32 [B, C], class probabilities; rows sum to 1.
        weights: float32 [B], sample weights.
    """

    inputs: Array
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Batches:
    """The batches of a whole training, numbered from 0 across all epochs.

    Batch n depends only on its number and the attributes below, so a resumed training sees the
    same batches as an uninterrupted one.

    Attributes:
        inputs: [N, ...]: uint8 pixels [N, H, W, 3], or any features if neither augmentation
            nor mixup is used.
        labels: int64 [N].
        class_weights: float32 [C], weight of an image of each class in the loss.
        size: batch size; the last batch of an epoch may be smaller.
        seed: random seed of order, augmentation and mixup.
        oversampling: strength of the oversampling of rare classes, 0 to 1; see
            `sampling_rates`.
        augmentation: kinds and strengths of augmentation.
        mixup: alpha of mixup; 0 disables it.
    """

    inputs: InputRows
    labels: npt.NDArray[np.int64]
    class_weights: npt.NDArray[np.float32]
    size: int
    seed: int
    oversampling: float
    augmentation: Augmentation
    mixup: float

    @classmethod
    def from_data(cls, inputs: InputRows, data: TrainingData, options: TrainOptions) -> Batches:
        """Makes the batches of a training.

        Args:
            inputs: [N, ...], pixels or features of the training images.
            data: provides the labels of the training images.
            options: batch size, seed, class weights, oversampling, augmentation and mixup.
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
            oversampling=options.oversampling,
            augmentation=options,
            mixup=options.mixup,
        )

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return math.ceil(len(self.labels) / self.size)

    def __getitem__(self, number: int) -> Batch:
        """Returns a batch by its number."""
        epoch, step = divmod(number, self.steps)
        order = self._order(epoch)
        # Sorted, as the rows may be read from a memory-mapped file.
        rows = np.sort(order[step * self.size : (step + 1) * self.size])
        generator = np.random.default_rng([self.seed, epoch, step])
        inputs = np.asarray(self.inputs[rows])
        targets = np.eye(len(self.class_weights), dtype=np.float32)[self.labels[rows]]
        if self.augmentation.has_augmentation:
            inputs = augment(inputs, self.augmentation, generator)
        if self.mixup:
            inputs, targets = mixup(inputs, targets, self.mixup, generator)
        return Batch(inputs, targets, targets @ self.class_weights)

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Returns the images of an epoch in order; with oversampling some occur repeatedly.

        Each image occurs as often as its sampling rate says, rounded down or up at random.
        """
        generator = np.random.default_rng([self.seed, epoch])
        count = len(self.labels)
        order = generator.permutation(count)
        if self.oversampling:
            cumulative = np.cumsum(sampling_rates(self.labels, self.oversampling)[order])
            ends = np.floor(cumulative + generator.random()).astype(np.int64)
            order = generator.permutation(np.repeat(order, np.diff(ends, prepend=0)))
        return np.resize(order, count)

    def dataset(self, first: int = 0) -> Any:
        """Makes an endless ``tf.data.Dataset`` of batches, prepared in the background.

        Args:
            first: number of the first batch.
        """
        import tensorflow as tf

        dtypes = (self.inputs.dtype, np.float32, np.float32)
        shapes = ((None, *self.inputs.shape[1:]), (None, len(self.class_weights)), (None,))

        def make(number: Any) -> Any:
            tensors = tf.numpy_function(self.__getitem__, [number], dtypes)
            return tuple(tf.ensure_shape(*pair) for pair in zip(tensors, shapes, strict=True))

        numbers = tf.data.Dataset.counter(first)
        return numbers.map(make, num_parallel_calls=tf.data.AUTOTUNE).prefetch(4)


def balanced_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Computes class weights inverse to the class frequencies.

    Args:
        labels: int64 [N]; every class occurs.
        classes: number of classes C.

    Returns:
        float32 [C], N / (C * images of the class).
    """
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * counts)).astype(np.float32)


def sampling_rates(labels: npt.NDArray[np.int64], oversampling: float) -> npt.NDArray[np.float64]:
    """Computes how often each image occurs in an epoch, on average.

    The rate of an image of a class with n images is proportional to ``n ** -oversampling``: 0
    draws every image once, 1 draws all classes equally often.

    Args:
        labels: int64 [N].
        oversampling: 0 to 1.

    Returns:
        float64 [N], with mean 1.
    """
    counts = np.bincount(labels)
    rates = counts[labels] ** -oversampling
    return np.asarray(rates / rates.mean(), np.float64)
