"""Training images in random order, changed and blended, a batch at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from boattrain.augment import Augmentation, augment, mixup
from boattrain.fitting.array_cache import Array
from boattrain.fitting.pixels import Data
from boattrain.options import TrainOptions

__all__ = ["Batch", "Batches", "Rows", "balanced_weights"]


class Rows(Protocol):
    """What a network takes, [N, ...]: an array, or what makes parts of one on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's."""

    @property
    def dtype(self) -> Any:
        """As an array's."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Gives some of the rows, as an array; ``rows`` is a slice or int64 [n]."""


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
        oversampling: how far rare classes are shown more often, 0 to 1; see `shares`.
        augmentation: how images are changed.
        mixup: its alpha; 0 for none.
    """

    inputs: Rows
    labels: npt.NDArray[np.int64]
    class_weights: npt.NDArray[np.float32]
    size: int
    seed: int
    oversampling: float
    augmentation: Augmentation
    mixup: float

    @classmethod
    def of(cls, inputs: Rows, data: Data, options: TrainOptions) -> Batches:
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
            oversampling=options.oversampling,
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
        order = self._order(epoch)
        # Sorted, because the rows may lie in a file.
        rows = np.sort(order[step * self.size : (step + 1) * self.size])
        generator = np.random.default_rng([self.seed, epoch, step])
        inputs = np.asarray(self.inputs[rows])
        targets = np.eye(len(self.class_weights), dtype=np.float32)[self.labels[rows]]
        if self.augmentation.augments:
            inputs = augment(inputs, self.augmentation, generator)
        if self.mixup:
            inputs, targets = mixup(inputs, targets, self.mixup, generator)
        return Batch(inputs, targets, targets @ self.class_weights)

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Puts an epoch's images in order; each is shown its share, rounded down or up."""
        generator = np.random.default_rng([self.seed, epoch])
        count = len(self.labels)
        shown = generator.permutation(count)
        if self.oversampling:
            passed = np.cumsum(shares(self.labels, self.oversampling)[shown])
            ends = np.floor(passed + generator.random()).astype(np.int64)
            shown = generator.permutation(np.repeat(shown, np.diff(ends, prepend=0)))
        return np.resize(shown, count)

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


def shares(labels: npt.NDArray[np.int64], oversampling: float) -> npt.NDArray[np.float64]:
    """Says how often each image is shown in an epoch, on average.

    An image of a class with n images is shown in proportion to ``n ** -oversampling``: 0
    shows every image once, 1 every class as often.

    Args:
        labels: int64 [N].
        oversampling: 0 to 1.

    Returns:
        float64 [N], with mean 1.
    """
    counts = np.bincount(labels)
    wanted = counts[labels] ** -oversampling
    return np.asarray(wanted / wanted.mean(), np.float64)
