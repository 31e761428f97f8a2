"""Runs an ONNX graph on pixels, which are normalised as the card specifies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from boatinfer.images import Pixels
from boatinfer.models.card import InputSpec, Outputs

__all__ = [
    "ONNX_TYPES",
    "REQUEST",
    "Floats",
    "Inferred",
    "class_activations",
    "graph_batch_size",
    "infer",
    "input_tensors",
]

Floats = npt.NDArray[np.float32]

#: Optional input of a graph, bool, false by default: whether class activations are computed.
REQUEST = "class_activation_request"

#: onnxruntime's names of the types of `InputSpec.dtype`.
ONNX_TYPES = {
    "uint8": "tensor(uint8)",
    "float32": "tensor(float)",
    "float16": "tensor(float16)",
}


class Inferred(NamedTuple):
    """The outputs of a network for N images.

    Attributes:
        probabilities: float32 [N, C].
        features: float32 [N, D], or None if the model has no feature output.
        svm: float32 [N, K], the scores of the SVM inside the graph; None if there is none.
        novelty: float32 [N, 1], how unlike the training images each is, from 0 to 1; None if the
            model has no such output.
    """

    probabilities: Floats
    features: Floats | None = None
    svm: Floats | None = None
    novelty: Floats | None = None

    @classmethod
    def concatenate(cls, parts: Sequence[Inferred]) -> Inferred:
        """Concatenates the rows of several batches."""
        probabilities, *optional = zip(*parts, strict=True)
        concatenated = (
            None if arrays[0] is None else np.concatenate(arrays) for arrays in optional
        )
        return cls(np.concatenate(probabilities), *concatenated)

    def head(self, count: int) -> Inferred:
        """The first rows."""
        optional = (None if array is None else array[:count] for array in self[1:])
        return Inferred(self.probabilities[:count], *optional)


def infer(
    session: Any, spec: InputSpec, outputs: Outputs, batch: Pixels, size: int | None = None
) -> Inferred:
    """Runs a graph on images; repeatedly if it has a fixed batch size.

    Args:
        session: an ``onnxruntime.InferenceSession`` of a graph with one input.
        spec: the input of the graph.
        outputs: the names of its outputs.
        batch: uint8 [N, H, W, 3], RGB, N >= 1.
        size: batch size for a graph with a free batch axis, the last batch padded with zeros;
            None means a single batch.
    """
    scores = str(outputs.probabilities or outputs.logits)
    optional = (outputs.features, outputs.svm, outputs.novelty)
    names = [scores, *filter(None, optional)]

    def run(tensor: npt.NDArray[Any], rows: int) -> Inferred:
        arrays = session.run(names, {spec.name: tensor})
        results = {
            name: np.asarray(array, np.float32).reshape(rows, -1)
            for name, array in zip(names, arrays, strict=True)
        }
        probabilities = results[scores] if outputs.logits is None else _softmax(results[scores])
        return Inferred(probabilities, *(results.get(name or "") for name in optional))

    chunks, rows = input_tensors(session, spec, batch, size)
    return Inferred.concatenate([run(chunk, rows) for chunk in chunks]).head(len(batch))


def class_activations(session: Any, spec: InputSpec, output: str, batch: Pixels) -> Floats:
    """Computes where in the images the predicted class was seen.

    Args:
        session: an ``onnxruntime.InferenceSession`` of a graph with this output.
        spec: the input of the graph.
        output: the name of the output.
        batch: uint8 [N, H, W, 3], RGB, N >= 1.

    Returns:
        float32 [N, h, w], at the resolution of the network's feature map.
    """
    chunks, _ = input_tensors(session, spec, batch)
    requested = np.array(True)
    maps = [session.run([output], {spec.name: c, REQUEST: requested})[0] for c in chunks]
    return np.asarray(np.concatenate(maps)[: len(batch)], np.float32)


def input_tensors(
    session: Any, spec: InputSpec, batch: Pixels, size: int | None = None
) -> tuple[list[npt.NDArray[Any]], int]:
    """The input tensors of a graph for some images, and the number of images per tensor.

    Args:
        session: an ``onnxruntime.InferenceSession`` of a graph with one input.
        spec: the input of the graph.
        batch: uint8 [N, H, W, 3], RGB, N >= 1.
        size: as for `infer`.
    """
    fixed = graph_batch_size(session)
    return _chunks(_normalise(batch, spec), size if fixed is None else fixed)


def graph_batch_size(session: Any) -> int | None:
    """The batch size of a graph: None if it is free, 0 if there is no batch axis."""
    (tensor,) = session.get_inputs()
    if len(tensor.shape) == 3:
        return 0
    size = tensor.shape[0]
    return (
        size if isinstance(size, int) and size > 0 else None
    )  # some graphs have -1 for a free axis


def _chunks(tensor: npt.NDArray[Any], size: int | None) -> tuple[list[npt.NDArray[Any]], int]:
    """Splits a tensor into batches; also returns the number of images per batch."""
    if size is None:
        return [tensor], len(tensor)
    if size == 0:
        return list(tensor), 1
    padding = np.zeros((-len(tensor) % size, *tensor.shape[1:]), tensor.dtype)
    padded = np.concatenate([tensor, padding])
    return np.split(padded, len(padded) // size), size


def _normalise(batch: Pixels, spec: InputSpec) -> npt.NDArray[Any]:
    if spec.order == "BGR":
        batch = batch[..., ::-1]
    tensor: npt.NDArray[Any] = batch
    if spec.dtype != "uint8":
        scaled = batch.astype(np.float32) * np.float32(spec.scale)
        mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
        tensor = ((scaled - mean) / std).astype(spec.dtype)
    if spec.layout == "NCHW":
        tensor = tensor.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(tensor)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
