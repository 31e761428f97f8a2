"""Loss, optimizer and learning rate schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from boattrain.backend import load_keras
from boattrain.options import TrainOptions

__all__ = ["compile_for_training", "cross_entropy", "make_schedule"]

#: Parts of the names of variables without weight decay.
_NO_WEIGHT_DECAY = ["bias", "gamma", "beta"]

#: Lower bound of probabilities before their logarithm.
_EPSILON = 1e-7


def compile_for_training(model: Any, options: TrainOptions, labels: npt.NDArray[np.int64]) -> None:
    """Compiles a Keras model with its loss and optimizer.

    The loss is the cross-entropy with label smoothing. With a logit adjustment ``t``, ``t`` times
    the log prior of each class is added to its logit in the loss, so that the network itself
    favours rare classes (Menon et al., "Long-tail learning via logit adjustment", 2021,
    equation 10).

    Args:
        model: a model whose output is probabilities [N, C].
        options: optimizer, learning rate, weight decay, label smoothing and logit adjustment.
        labels: int64 [N], labels of the training images.
    """
    keras = load_keras()
    if options.logit_adjustment:
        counts = np.bincount(labels, minlength=model.output_shape[-1])
        loss = _logit_adjusted_loss(options, np.log(counts / len(labels)).astype(np.float32))
    else:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=options.label_smoothing)
    model.compile(optimizer=_make_optimizer(options), loss=loss, metrics=["accuracy"])


def make_schedule(options: TrainOptions, steps_per_epoch: int) -> Any:
    """Makes the Keras schedule of the learning rate: linear warm-up, then constant or cosine decay.

    Args:
        options: peak learning rate, schedule, warm-up and number of epochs.
        steps_per_epoch: steps per epoch.
    """
    peak, warmup = options.learning_rate, options.warmup * steps_per_epoch
    return load_keras().optimizers.schedules.CosineDecay(
        peak / (warmup + 1),  # so that the first step does something
        max(1.0, options.epochs * steps_per_epoch - warmup),
        alpha=1.0 if options.schedule == "constant" else 0.0,  # the last rate, relative to the peak
        warmup_target=peak,
        warmup_steps=warmup,
    )


def cross_entropy(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32]) -> float:
    """Computes the mean cross-entropy, the negative log probability of the true class.

    Args:
        labels: int64 [N].
        probabilities: float32 [N, C].
    """
    of_true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(of_true_class.clip(_EPSILON)).mean())


def _make_optimizer(options: TrainOptions) -> Any:
    optimizers, rate = load_keras().optimizers, options.learning_rate
    if options.optimizer == "sgd":
        return optimizers.SGD(rate, momentum=0.9)
    if options.optimizer == "adam":
        return optimizers.Adam(rate)
    adamw = optimizers.AdamW(rate, weight_decay=options.weight_decay)
    adamw.exclude_from_weight_decay(var_names=_NO_WEIGHT_DECAY)
    return adamw


def _logit_adjusted_loss(options: TrainOptions, log_priors: npt.NDArray[np.float32]) -> Any:
    keras = load_keras()
    ops, smoothing = keras.ops, options.label_smoothing

    def loss(targets: Any, probabilities: Any) -> Any:
        logits = ops.log(probabilities + _EPSILON) + options.logit_adjustment * log_priors
        smoothed = targets * (1 - smoothing) + smoothing / len(log_priors)
        return ops.categorical_crossentropy(smoothed, logits, from_logits=True)

    return loss
