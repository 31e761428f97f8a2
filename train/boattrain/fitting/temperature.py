"""Calibrates the confidence of a trained network by temperature scaling.

Guo et al., "On Calibration of Modern Neural Networks", 2017: the logits are divided by one number,
the temperature, with which the labels of the validation images are the most probable. The
predicted classes do not change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from boattrain.networks.base import PROBABILITIES

__all__ = ["apply_temperature", "fit_temperature", "scaled"]

#: Standard deviation of the logarithm of temperatures, before any image is seen. It keeps the
#: temperature of a few images, or of images that are all right, from running away.
_PRIOR = 0.5
#: Smallest probability.
_TINY = 1e-12


def scaled(
    probabilities: npt.NDArray[np.floating[Any]], temperature: float
) -> npt.NDArray[np.float64]:
    """The probabilities, float64 [N, C], with their logits divided by a temperature."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _TINY)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]
) -> float:
    """Finds the temperature that makes the labels most probable.

    Args:
        probabilities: [N, C], of the validation images.
        labels: int64 [N].

    Returns:
        Above 1 if the network is too sure of itself, below 1 if it is not sure enough.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        likely = scaled(probabilities, float(np.exp(log_temperature)))[rows, labels]
        prior = (log_temperature / _PRIOR) ** 2 / 2
        return float(-np.log(np.maximum(likely, _TINY)).sum() + prior)

    return float(np.exp(minimize_scalar(loss, bounds=(-2.3, 2.3), method="bounded").x))


def apply_temperature(model: Any, temperature: float) -> None:
    """Divides the weights of a network's last layer, and so its logits, by a temperature."""
    last = model.get_layer(PROBABILITIES)
    last.set_weights([weights / temperature for weights in last.get_weights()])
