"""Verifies that an ONNX file has the outputs of the Keras model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from boatinfer import images
from boatinfer.errors import ModelError
from boatinfer.images import Pixels
from boatinfer.models.inference import Floats, Inferred
from boatinfer.models.model import Model

__all__ = [
    "BATCH_SIZES",
    "compare_outputs",
    "keras_outputs",
    "probability_tolerance",
    "verify",
    "with_random_images",
]

BATCH_SIZES = (1, 3, 8)

#: Largest differences allowed: absolute for probabilities, relative to the largest value for
#: features.
TOLERANCES = {"probabilities": 1e-5, "features": 1e-4}

#: The tolerance for probabilities of a network of at least so many kernels, whose rounding
#: errors add up: those of a ResNet50 in float32 differ by about 3e-5.
_DEEP_TOLERANCE, _DEEP_KERNELS = 1e-4, 40

_RANDOM_IMAGES = 8


def probability_tolerance(reference: Any) -> float:
    """Returns the largest difference of a probability to allow for a Keras model."""
    kernels = sum(len(weight.shape) > 1 for weight in reference.weights)
    return _DEEP_TOLERANCE if kernels >= _DEEP_KERNELS else TOLERANCES["probabilities"]


def verify(
    exported: Model, reference: Any, tolerance: float = TOLERANCES["probabilities"]
) -> float:
    """Compares an ONNX file with the Keras model on golden and random images.

    Args:
        exported: the ONNX model.
        reference: the Keras model made by `boatexport.convert.with_features`.
        tolerance: largest difference of a probability to allow.

    Returns:
        The largest difference of a probability.

    Raises:
        ModelError: a tensor does not match the card, or a value differs.
    """
    _check_tensors(exported)
    image, names = exported.card.image, exported.card.outputs
    golden = [images.read(golden.image, image) for golden in exported.golden.images]
    pixels = with_random_images(np.stack(golden))
    outputs = keras_outputs(reference, pixels)
    expected = Inferred(outputs[str(names.probabilities)], outputs.get(names.features or ""))
    allowed = TOLERANCES | {"probabilities": tolerance}
    largest = 0.0
    for size, name, difference in compare_outputs(exported, pixels, expected):
        _check_difference(name, difference, allowed[name], size)
        largest = max(largest, difference) if name == "probabilities" else largest
    return largest


def keras_outputs(reference: Any, pixels: Pixels) -> dict[str, Floats]:
    """Computes the outputs of a Keras model for images, uint8 [N, H, W, 3], by output name.

    The images are run one by one, as Keras holds the outputs of all layers in memory: half a
    gigabyte for one image of 240 x 800 in ResNet50.
    """
    outputs = [reference(image[None], training=False) for image in pixels]
    return {
        name: np.concatenate([np.asarray(output[name]) for output in outputs])
        for name in outputs[0]
    }


def with_random_images(pixels: Pixels) -> Pixels:
    """Appends random images, uint8 [8, H, W, 3], to images."""
    shape = (_RANDOM_IMAGES, *pixels.shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return np.concatenate([pixels, noise])


def compare_outputs(
    model: Model, pixels: Pixels, expected: Inferred
) -> Iterator[tuple[int, str, float]]:
    """Compares the outputs of a model with expected ones, at each of `BATCH_SIZES`.

    Args:
        model: the model.
        pixels: uint8 [N, H, W, 3].
        expected: expected outputs; features only if the model has them.

    Yields:
        Batch size; ``probabilities`` or ``features``; largest difference, absolute for
        probabilities and relative to the largest value for features, infinite if the shapes
        differ.
    """
    for size in BATCH_SIZES:
        batches = [pixels[i : i + size] for i in range(0, len(pixels), size)]
        actual = Inferred.concatenate([model.infer(batch) for batch in batches])
        yield size, "probabilities", _difference(actual.probabilities, expected.probabilities)
        if actual.features is not None and expected.features is not None:
            largest = np.abs(expected.features).max(initial=1)
            yield size, "features", _difference(actual.features, expected.features) / largest


def _check_tensors(exported: Model) -> None:
    """Checks that names, types and axes of the tensors match the card, with any batch size."""
    card, session = exported.card, exported.session
    batch, image = "batch", card.image
    expected = {card.input.name: ("tensor(uint8)", [batch, image.height, image.width, 3])}
    expected[str(card.outputs.probabilities)] = ("tensor(float)", [batch, len(card.classes)])
    if card.features is not None:
        expected[str(card.outputs.features)] = ("tensor(float)", [batch, card.features.dimension])
    tensors = [*session.get_inputs(), *session.get_outputs()]
    actual = {tensor.name: (tensor.type, tensor.shape) for tensor in tensors}
    if card.outputs.class_activation is not None:  # computed by nodes that Keras does not have
        actual.pop(card.outputs.class_activation, None)
    if actual != expected:
        raise ModelError(
            f"the exported graph has the tensors {actual} instead of {expected}, so no file was "
            "written; export with other versions of tensorflow and tf2onnx."
        )


def _difference(actual: Floats, expected: Floats) -> float:
    """Returns the largest absolute difference; infinite if the shapes differ."""
    return float(np.abs(actual - expected).max()) if actual.shape == expected.shape else np.inf


def _check_difference(name: str, difference: float, tolerance: float, batch_size: int) -> None:
    if not difference <= tolerance:  # NaN fails too
        raise ModelError(
            f"the exported {name} differ from Keras by {difference:.2g} at batch size "
            f"{batch_size}, more than {tolerance:g}, so no file was written; export with other "
            "versions of tensorflow and tf2onnx."
        )
