"""Reads an ONNX file made elsewhere, and explains why one cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from onnx import TensorProto

from boatexport.foreign.adapting import adapt_input, all_nodes, widen_bfloat16
from boatexport.foreign.external import merge_external
from boatexport.graph.graphs import add_output
from boatinfer.errors import ModelError, UsageError
from boatinfer.models.card import CARD_KEY
from boatinfer.models.model import read_model
from boatinfer.models.session import TimeLimitedSession, open_session

__all__ = [
    "ForeignModel",
    "Tensor",
    "add_features_output",
    "find_feature_tensor",
    "precision_of",
    "read_foreign",
]

Precision = Literal["float32", "float16", "int8"]

#: Prefixes of the operator domains that onnxruntime supports.
_SUPPORTED_DOMAINS = ("ai.onnx", "com.microsoft")

_QUANTISED_OPS = {"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger"}


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph.

    Attributes:
        name: name of the tensor.
        value_type: type in onnxruntime, such as ``tensor(float)``.
        shape: length of each axis, None if dynamic.
    """

    name: str
    value_type: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        axes = " x ".join("?" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name} ({self.value_type}{f', {axes}' if axes else ''})"


@dataclass(frozen=True)
class ForeignModel:
    """A model that onnxruntime can load, with one image as its input.

    Attributes:
        path: the file.
        graph: its content.
        image: its only input.
        outputs: its outputs.
        metadata: its metadata.
        session: an ``onnxruntime.InferenceSession`` on the CPU.
    """

    path: Path
    graph: onnx.ModelProto
    image: Tensor
    outputs: list[Tensor]
    metadata: dict[str, str]
    session: Any

    def reopened(self, graph: onnx.ModelProto) -> ForeignModel:
        """The model with another graph."""
        return _opened(graph, self.path, self.metadata)


def read_foreign(path: Path) -> ForeignModel:
    """Reads an ONNX file without a model card.

    Raises:
        ModelError: the file is not an ONNX file, or cannot be used.
        UsageError: it has a card already.
    """
    content = read_model(path)
    graph = _parse(content, path)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    if CARD_KEY in metadata:
        raise UsageError(
            f"{path} has a model card already, so 'boatinfer run -m' accepts it as it is; "
            "describe its original instead."
        )
    merge_external(graph, path)
    widen_bfloat16(graph)
    adapt_input(graph)
    if metadata.get("task", "classify") != "classify":
        raise ModelError(
            f"{path} is for the task {metadata['task']}, not classification; use a classifier."
        )
    return _opened(graph, path, metadata)


def _opened(graph: onnx.ModelProto, path: Path, metadata: dict[str, str]) -> ForeignModel:
    session = _load(graph.SerializeToString(), graph, path)
    inputs = [_tensor(tensor) for tensor in session.get_inputs()]
    outputs = [_tensor(tensor) for tensor in session.get_outputs()]
    if len(inputs) != 1:
        raise ModelError(
            f"{path} has {len(inputs)} inputs ({', '.join(map(str, inputs)) or 'none'}), but "
            "boatinfer needs one, the image; use a model with one input."
        )
    return ForeignModel(path, graph, inputs[0], outputs, metadata, session)


def _parse(content: bytes, path: Path) -> onnx.ModelProto:
    if content.startswith(b"PK\3\4"):
        raise ModelError(f"{path} is a Keras model; convert it to ONNX with 'boatinfer export'.")
    try:
        graph = onnx.load_model_from_string(content)
    except Exception as error:  # the error type of protobuf
        raise ModelError(
            f"{path} is not an ONNX file, or is truncated or damaged; get it again from its source."
        ) from error
    if not graph.graph.node:
        raise ModelError(f"{path} is an ONNX file without nodes; get it again.")
    return graph


def _load(content: bytes, graph: onnx.ModelProto, path: Path) -> Any:
    try:
        return TimeLimitedSession(open_session(content, path, "cpu")[0])
    except ModelError as error:
        local_functions = {(function.domain, function.name) for function in graph.functions}
        custom = sorted(
            {
                f"{node.domain}.{node.op_type}"
                for node in all_nodes(graph.graph)
                if node.domain and not node.domain.startswith(_SUPPORTED_DOMAINS)
                if (node.domain, node.op_type) not in local_functions
            }
        )
        if not custom:
            raise
        raise ModelError(
            f"{path} uses operators that onnxruntime does not have ({', '.join(custom)}); export "
            "it with standard operators only."
        ) from error


def _tensor(argument: Any) -> Tensor:
    axes = (axis if isinstance(axis, int) and axis > 0 else None for axis in argument.shape or [])
    return Tensor(argument.name, argument.type, tuple(axes))


def precision_of(graph: onnx.ModelProto) -> Precision:
    """Finds the precision of a network, which sets the tolerance of its self-test."""
    if any(node.op_type in _QUANTISED_OPS for node in all_nodes(graph.graph)):
        return "int8"
    weights = list(graph.graph.initializer)
    half = sum(tensor.data_type == TensorProto.FLOAT16 for tensor in weights)
    return "float16" if half > len(weights) / 2 else "float32"


def find_feature_tensor(graph: onnx.ModelProto) -> str | None:
    """Finds the input of the last fully connected layer, which makes good features."""
    for node in reversed(graph.graph.node):
        if node.op_type in {"Gemm", "MatMul"}:
            computed = {name for other in graph.graph.node for name in other.output}
            return node.input[0] if node.input[0] in computed else None
    return None


def add_features_output(foreign: ForeignModel, node: str) -> tuple[onnx.ModelProto, str]:
    """Adds an inner tensor as an output.

    Args:
        foreign: the model.
        node: name of the tensor, or of the node with it as its first output.

    Returns:
        A copy of the graph with the output, and the name of the tensor.

    Raises:
        UsageError: the node does not exist.
        ModelError: its output is not floating-point.
    """
    nodes = foreign.graph.graph.node
    tensors = {name for one in nodes for name in one.output}
    tensor = node if node in tensors else {n.name: n.output[0] for n in nodes}.get(node, "")
    if not tensor:
        example = find_feature_tensor(foreign.graph)
        raise UsageError(
            f"--features {node}: {foreign.path} has no node or tensor of that name"
            + (f"; the input of its last layer is {example}." if example else ".")
        )
    graph = onnx.ModelProto()
    graph.CopyFrom(foreign.graph)
    add_output(graph, tensor, foreign.path)
    return graph, tensor
