"""What a training minimises, and how fast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from boattrain.backend import load_keras
from boattrain.options import TrainOptions

__all__ = ["compile_for_training", "cross_entropy", "learning_rate"]

#: Variables that weight decay spares, by parts of their names.
_SPARED = ["bias", "gamma", "beta"]

_LEAST = 1e-7


def compile_for_training(model: Any, options: TrainOptions, labels: npt.NDArray[np.int64]) -> None:
    """Gives a Keras model its loss and its optimizer.

    The loss is the cross-entropy with smoothed targets. With a logit adjustment ``t`` the
    logarithm of each class's share in train is added ``t`` times to its logit first, so that
    what the network says by itself favours rare classes (Menon et al., "Long-tail learning
    via logit adjustment", 2021, equation 10).

    Args:
        model: its output is probabilities [N, C].
        options: optimizer, rate, decay, smoothing and adjustment.
        labels: int64 [N], labels of train.
    """
    keras = load_keras()
    if options.logit_adjustment:
        counts = np.bincount(labels, minlength=model.output_shape[-1])
        loss = _adjusted(options, np.log(counts / len(labels)).astype(np.float32))
    else:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=options.label_smoothing)
    model.compile(optimizer=_optimizer(options), loss=loss, metrics=["accuracy"])


def learning_rate(options: TrainOptions, step: int, steps: int, total: int) -> float:
    """Looks up the schedule: a linear rise, then constant or half a cosine.

    Args:
        options: rate, schedule and warm-up.
        step: number of the step, from 0.
        steps: steps in an epoch.
        total: steps in all.
    """
    warmup = options.warmup * steps
    if step < warmup:
        return options.learning_rate * (step + 1) / (warmup + 1)
    if options.schedule == "constant":
        return options.learning_rate
    passed = (step - warmup) / max(1.0, total - warmup)
    return options.learning_rate * (1 + math.cos(math.pi * passed)) / 2


def cross_entropy(truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32]) -> float:
    """Mean negative logarithm of the true classes' probabilities.

    Args:
        truth: int64 [N].
        probabilities: float32 [N, C].
    """
    true = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(true.clip(_LEAST)).mean())


def _optimizer(options: TrainOptions) -> Any:
    optimizers, rate = load_keras().optimizers, options.learning_rate
    if options.optimizer == "sgd":
        return optimizers.SGD(rate, momentum=0.9)
    if options.optimizer == "adam":
        return optimizers.Adam(rate)
    adamw = optimizers.AdamW(rate, weight_decay=options.weight_decay)
    adamw.exclude_from_weight_decay(var_names=_SPARED)
    return adamw


def _adjusted(options: TrainOptions, logarithms: npt.NDArray[np.float32]) -> Any:
    keras = load_keras()
    ops, smoothing = keras.ops, options.label_smoothing

    def loss(targets: Any, probabilities: Any) -> Any:
        logits = ops.log(probabilities + _LEAST) + options.logit_adjustment * logarithms
        smooth = targets * (1 - smoothing) + smoothing / len(logarithms)
        return ops.categorical_crossentropy(smooth, logits, from_logits=True)

    return loss
