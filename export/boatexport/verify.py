"""Proves that an ONNX file gives what the Keras model gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from boatinfer import images
from boatinfer.errors import ModelError
from boatinfer.images import Pixels
from boatinfer.model import Model
from boatinfer.network import Floats, Inferred

__all__ = ["BATCH_SIZES", "verify"]

BATCH_SIZES = (1, 3, 8)

#: Largest difference allowed, absolute for probabilities.
PROBABILITY_TOLERANCE = 1e-5
#: And for features, whose scale is the network's own, as a share of the largest.
FEATURE_TOLERANCE = 1e-4

_NOISE_IMAGES = 8


def verify(exported: Model, reference: Any) -> float:
    """Compares an ONNX file with the Keras model on golden and random images.

    Args:
        exported: the final file, opened.
        reference: the Keras model of `boatexport.convert.with_features`.

    Returns:
        The largest difference of a probability.

    Raises:
        ModelError: a tensor is not what the card says, or a value differs.
    """
    _check_tensors(exported)
    outputs, pixels = exported.card.outputs, _pictures(exported)
    expected = reference(pixels, training=False)
    probabilities = np.asarray(expected[outputs.probabilities])
    largest = 0.0
    for size in BATCH_SIZES:
        batches = [pixels[i : i + size] for i in range(0, len(pixels), size)]
        found = Inferred.joined([exported.infer(batch) for batch in batches])
        difference = _difference(found.probabilities, probabilities)
        _require("probabilities", difference, PROBABILITY_TOLERANCE, size)
        largest = max(largest, difference)
        if found.features is not None:
            features = np.asarray(expected[outputs.features])
            difference = _difference(found.features, features)
            _require(
                "features", difference / np.abs(features).max(initial=1), FEATURE_TOLERANCE, size
            )
    return largest


def _check_tensors(exported: Model) -> None:
    """Compares names, types and axes, the batch axis being free, with what the card says."""
    card, session = exported.card, exported.session
    batch, image = "batch", card.image
    promised = {card.input.name: ("tensor(uint8)", [batch, image.height, image.width, 3])}
    promised[str(card.outputs.probabilities)] = ("tensor(float)", [batch, len(card.classes)])
    if card.features is not None:
        promised[str(card.outputs.features)] = ("tensor(float)", [batch, card.features.dimension])
    tensors = [*session.get_inputs(), *session.get_outputs()]
    found = {tensor.name: (tensor.type, tensor.shape) for tensor in tensors}
    if found != promised:
        raise ModelError(
            f"the exported graph has the tensors {found} instead of {promised}, so no file was "
            "written; export with other versions of tensorflow and tf2onnx."
        )


def _pictures(exported: Model) -> Pixels:
    image = exported.card.image
    golden = [images.read(golden.image, image) for golden in exported.golden.images]
    shape = (_NOISE_IMAGES, image.height, image.width, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return np.concatenate([np.stack(golden), noise])


def _difference(found: Floats, expected: Floats) -> float:
    """Largest absolute difference; infinite where the shapes differ."""
    return float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf


def _require(what: str, difference: float, tolerance: float, batch_size: int) -> None:
    if not difference <= tolerance:  # NaN fails too
        raise ModelError(
            f"the exported {what} differ from Keras by {difference:.2g} at batch size "
            f"{batch_size}, more than {tolerance:g}, so no file was written; export with other "
            "versions of tensorflow and tf2onnx."
        )
