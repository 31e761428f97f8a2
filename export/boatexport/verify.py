"""Proves that an ONNX file gives what the Keras model gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from boatinfer import images
from boatinfer.errors import ModelError
from boatinfer.images import Pixels
from boatinfer.models.inference import Floats, Inferred
from boatinfer.models.model import Model

__all__ = ["BATCH_SIZES", "compare", "keras_outputs", "tolerance_of", "verify", "with_noise"]

BATCH_SIZES = (1, 3, 8)

#: Largest differences allowed, absolute for probabilities; for features, whose scale is the
#: network's own, as a share of the largest.
TOLERANCES = {"probabilities": 1e-5, "features": 1e-4}

#: The same for probabilities of a network of at least so many kernels, whose rounding adds
#: up: those of a ResNet50 in float32 differ by some 3e-5.
_DEEP_TOLERANCE, _DEEP = 1e-4, 40

_NOISE_IMAGES = 8


def tolerance_of(reference: Any) -> float:
    """The largest difference of a probability that `verify` shall allow a Keras model."""
    kernels = sum(len(weight.shape) > 1 for weight in reference.weights)
    return _DEEP_TOLERANCE if kernels >= _DEEP else TOLERANCES["probabilities"]


def verify(
    exported: Model, reference: Any, tolerance: float = TOLERANCES["probabilities"]
) -> float:
    """Compares an ONNX file with the Keras model on golden and random images.

    Args:
        exported: the final file, opened.
        reference: the Keras model of `boatexport.convert.with_features`.
        tolerance: the largest difference of a probability that is allowed.

    Returns:
        The largest difference of a probability.

    Raises:
        ModelError: a tensor is not what the card says, or a value differs.
    """
    _check_tensors(exported)
    image, names = exported.card.image, exported.card.outputs
    golden = [images.read(golden.image, image) for golden in exported.golden.images]
    pixels = with_noise(np.stack(golden))
    outputs = keras_outputs(reference, pixels)
    expected = Inferred(outputs[str(names.probabilities)], outputs.get(names.features or ""))
    allowed = TOLERANCES | {"probabilities": tolerance}
    largest = 0.0
    for size, what, difference in compare(exported, pixels, expected):
        _require(what, difference, allowed[what], size)
        largest = max(largest, difference) if what == "probabilities" else largest
    return largest


def keras_outputs(reference: Any, pixels: Pixels) -> dict[str, Floats]:
    """What a Keras model gives for images, uint8 [N, H, W, 3], by the names of its outputs.

    They go one at a time: Keras holds what all layers give until the last one is done, which
    for one image of 240 x 800 in ResNet50 is half a gigabyte.
    """
    single = [reference(image[None], training=False) for image in pixels]
    return {name: np.concatenate([np.asarray(one[name]) for one in single]) for name in single[0]}


def with_noise(pixels: Pixels) -> Pixels:
    """Adds random images, uint8 [8, H, W, 3], to some images."""
    shape = (_NOISE_IMAGES, *pixels.shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return np.concatenate([pixels, noise])


def compare(model: Model, pixels: Pixels, expected: Inferred) -> Iterator[tuple[int, str, float]]:
    """Compares what a model gives for images, at each of `BATCH_SIZES`, with what it should.

    Args:
        model: the model.
        pixels: uint8 [N, H, W, 3].
        expected: what it should give; features only if the model has them.

    Yields:
        Batch size; ``probabilities`` or ``features``; largest difference, absolute for
        probabilities and as a share of the largest for features, infinite where the shapes
        differ.
    """
    for size in BATCH_SIZES:
        batches = [pixels[i : i + size] for i in range(0, len(pixels), size)]
        found = Inferred.concatenate([model.infer(batch) for batch in batches])
        yield size, "probabilities", _difference(found.probabilities, expected.probabilities)
        if found.features is not None and expected.features is not None:
            largest = np.abs(expected.features).max(initial=1)
            yield size, "features", _difference(found.features, expected.features) / largest


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
