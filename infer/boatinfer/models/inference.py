"""Pixels through an ONNX graph, as the card says that it wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from boatinfer.images import Pixels
from boatinfer.models.card import InputSpec, Outputs

__all__ = ["ONNX_TYPES", "Floats", "Inferred", "images_at_a_time", "infer", "tensors"]

Floats = npt.NDArray[np.float32]

#: What onnxruntime calls the types of `InputSpec.dtype`.
ONNX_TYPES = {
    "uint8": "tensor(uint8)",
    "float32": "tensor(float)",
    "float16": "tensor(float16)",
}


class Inferred(NamedTuple):
    """What a network gives for N images.

    Attributes:
        probabilities: float32 [N, C].
        features: float32 [N, D], or None where the model has no feature output.
        svm: float32 [N, K], the scores of the SVM inside the graph; None where there is none.
    """

    probabilities: Floats
    features: Floats | None = None
    svm: Floats | None = None

    @classmethod
    def joined(cls, parts: Sequence[Inferred]) -> Inferred:
        """Puts the rows of several batches together."""
        probabilities, *others = zip(*parts, strict=True)
        joined = (None if arrays[0] is None else np.concatenate(arrays) for arrays in others)
        return cls(np.concatenate(probabilities), *joined)

    def first(self, count: int) -> Inferred:
        """The first rows alone."""
        others = (None if array is None else array[:count] for array in self[1:])
        return Inferred(self.probabilities[:count], *others)


def infer(
    session: Any, spec: InputSpec, outputs: Outputs, batch: Pixels, size: int | None = None
) -> Inferred:
    """Runs a graph on images; one of a fixed batch size is run as often as it takes.

    Args:
        session: an ``onnxruntime.InferenceSession`` of a graph with one input.
        spec: what its input wants.
        outputs: the names of its outputs.
        batch: uint8 [N, H, W, 3], RGB; N may be anything from 1.
        size: images in every tensor that a graph with a free batch axis is to see, the last
            filled up with zeros; None means all in one.
    """
    scores = str(outputs.probabilities or outputs.logits)
    wanted = [name for name in (scores, outputs.features, outputs.svm) if name is not None]

    def run(tensor: npt.NDArray[Any], rows: int) -> Inferred:
        arrays = session.run(wanted, {spec.name: tensor})
        found = {
            name: np.asarray(array, np.float32).reshape(rows, -1)
            for name, array in zip(wanted, arrays, strict=True)
        }
        first = found[scores] if outputs.logits is None else _softmax(found[scores])
        return Inferred(first, found.get(outputs.features or ""), found.get(outputs.svm or ""))

    chunks, rows = tensors(session, spec, batch, size)
    return Inferred.joined([run(chunk, rows) for chunk in chunks]).first(len(batch))


def tensors(
    session: Any, spec: InputSpec, batch: Pixels, size: int | None = None
) -> tuple[list[npt.NDArray[Any]], int]:
    """What a graph is fed with for some images, and how many images each tensor stands for.

    Args:
        session: an ``onnxruntime.InferenceSession`` of a graph with one input.
        spec: what its input wants.
        batch: uint8 [N, H, W, 3], RGB; N may be anything from 1.
        size: as of `infer`.
    """
    fixed = images_at_a_time(session)
    return _chunks(_tensor(batch, spec), size if fixed is None else fixed)


def images_at_a_time(session: Any) -> int | None:
    """How many images a graph takes: None is any number, 0 stands for no batch axis at all."""
    (tensor,) = session.get_inputs()
    if len(tensor.shape) == 3:
        return 0
    size = tensor.shape[0]
    return size if isinstance(size, int) and size > 0 else None  # some write -1 for a free axis


def _chunks(fed: npt.NDArray[Any], size: int | None) -> tuple[list[npt.NDArray[Any]], int]:
    """Cuts a batch into what the graph takes at a time, each of which gives as many rows."""
    if size is None:
        return [fed], len(fed)
    if size == 0:
        return list(fed), 1
    padding = np.zeros((-len(fed) % size, *fed.shape[1:]), fed.dtype)
    padded = np.concatenate([fed, padding])
    return np.split(padded, len(padded) // size), size


def _tensor(batch: Pixels, spec: InputSpec) -> npt.NDArray[Any]:
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
