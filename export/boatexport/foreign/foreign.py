"""An ONNX file from elsewhere: what it tells about itself, and why it cannot be used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from onnx import TensorProto

from boatexport.graph.graphs import add_output
from boatinfer.errors import ModelError, UsageError
from boatinfer.models.card import CARD_KEY
from boatinfer.models.model import read_model
from boatinfer.models.session import TimeLimitedSession, open_session

__all__ = ["Foreign", "Tensor", "expose", "last_vector", "precision_of", "read_foreign"]

Precision = Literal["float32", "float16", "int8"]

#: What the domains begin with whose operators onnxruntime has.
_STANDARD = ("ai.onnx", "com.microsoft")

_QUANTISED = {"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger"}


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph.

    Attributes:
        name: of the tensor.
        kind: as onnxruntime says it, such as ``tensor(float)``.
        shape: its axes, None where the length is free.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        axes = " x ".join("?" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name} ({self.kind}{f', {axes}' if axes else ''})"


@dataclass(frozen=True)
class Foreign:
    """A file that onnxruntime can load and that takes one image.

    Attributes:
        path: the file.
        graph: its content.
        image: its only input.
        outputs: all of them.
        metadata: what its maker wrote into it.
        session: an ``onnxruntime.InferenceSession`` on the CPU.
    """

    path: Path
    graph: onnx.ModelProto
    image: Tensor
    outputs: list[Tensor]
    metadata: dict[str, str]
    session: Any

    @property
    def names(self) -> list[str]:
        """The class names of the metadata, as Ultralytics writes them; empty if there are none."""
        names = self._literal("names")
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names)]
        return [str(name) for name in names] if isinstance(names, list | tuple) else []

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the metadata, as Ultralytics writes them."""
        size = self._literal("imgsz")
        size = [size, size] if isinstance(size, int) else size
        if isinstance(size, list | tuple) and len(size) == 2:
            return int(size[0]), int(size[1])
        return None

    @property
    def is_ultralytics(self) -> bool:
        """Whether Ultralytics made it, whose classifiers take pixels from 0 to 1."""
        return "ultralytics" in " ".join(self.metadata.values()).lower() and bool(self.names)

    def _literal(self, key: str) -> Any:
        """A Python literal of the metadata; None where it is none."""
        try:
            return ast.literal_eval(self.metadata.get(key, "None"))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None


def read_foreign(path: Path) -> Foreign:
    """Reads an ONNX file that has no card yet.

    Raises:
        ModelError: it is no ONNX file, or one that cannot be used; the message says why.
        UsageError: it has a card already.
    """
    content = read_model(path)
    graph = _parse(content, path)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    if CARD_KEY in metadata:
        raise UsageError(
            f"{path} has a model card already, so 'boatinfer run -m' takes it as it is; describe "
            "the file that it was made from."
        )
    if elsewhere := sorted({_location(t) for t in _tensors(graph.graph) if _is_elsewhere(t)}):
        raise ModelError(
            f"{path} keeps its weights in other files ({', '.join(elsewhere[:3])}), and a model "
            "file must hold all it needs; save it as one file, in Python with onnx.save(onnx.load"
            f"('{path.name}'), 'whole.onnx')."
        )
    session = _load(content, graph, path)
    inputs = [_tensor(tensor) for tensor in session.get_inputs()]
    outputs = [_tensor(tensor) for tensor in session.get_outputs()]
    if len(inputs) != 1:
        raise ModelError(
            f"{path} takes {len(inputs)} inputs ({', '.join(map(str, inputs)) or 'none'}), and "
            "boatinfer has one image to give; use a model with one input."
        )
    if metadata.get("task", "classify") != "classify":
        raise ModelError(
            f"{path} was made to {metadata['task']} and not to classify; use a classifier."
        )
    return Foreign(path, graph, inputs[0], outputs, metadata, session)


def _parse(content: bytes, path: Path) -> onnx.ModelProto:
    if content.startswith(b"PK\3\4"):
        raise ModelError(f"{path} is a Keras model; turn it into ONNX with 'boatinfer export'.")
    try:
        graph = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own kind of error
        raise ModelError(
            f"{path} is no ONNX file, or is cut off or damaged; get it again from its maker."
        ) from error
    if not graph.graph.node:
        raise ModelError(f"{path} is an ONNX file without a network; get it again.")
    return graph


def _load(content: bytes, graph: onnx.ModelProto, path: Path) -> Any:
    try:
        return TimeLimitedSession(open_session(content, path, "cpu")[0])
    except ModelError as error:
        own = {(function.domain, function.name) for function in graph.functions}
        custom = sorted(
            {
                f"{node.domain}.{node.op_type}"
                for node in _nodes(graph.graph)
                if node.domain and not node.domain.startswith(_STANDARD)
                if (node.domain, node.op_type) not in own
            }
        )
        if not custom:
            raise
        raise ModelError(
            f"{path} uses operators that onnxruntime does not have ({', '.join(custom)}); export "
            "it with standard operators alone."
        ) from error


def _tensor(argument: Any) -> Tensor:
    axes = (axis if isinstance(axis, int) and axis > 0 else None for axis in argument.shape or [])
    return Tensor(argument.name, argument.type, tuple(axes))


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches and loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """All constant tensors, those of branches and loops too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from [attribute.t, *attribute.tensors]
            for inner in [attribute.g, *attribute.graphs]:
                yield from _tensors(inner)


def _is_elsewhere(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL


def _location(tensor: TensorProto) -> str:
    return next((e.value for e in tensor.external_data if e.key == "location"), "not named")


def precision_of(graph: onnx.ModelProto) -> Precision:
    """What the network computes in, which decides how exactly its self-test must agree."""
    if any(node.op_type in _QUANTISED for node in _nodes(graph.graph)):
        return "int8"
    weights = list(graph.graph.initializer)
    half = sum(tensor.data_type == TensorProto.FLOAT16 for tensor in weights)
    return "float16" if half > len(weights) / 2 else "float32"


def last_vector(graph: onnx.ModelProto) -> str | None:
    """The tensor that the last fully connected layer takes, which makes good features."""
    for node in reversed(graph.graph.node):
        if node.op_type in {"Gemm", "MatMul"}:
            produced = {name for other in graph.graph.node for name in other.output}
            return node.input[0] if node.input[0] in produced else None
    return None


def expose(foreign: Foreign, node: str) -> tuple[onnx.ModelProto, str]:
    """Makes an inner tensor an output.

    Args:
        foreign: the file.
        node: the name of a tensor, or of the node whose first output it is.

    Returns:
        A copy of the graph with the output, and the tensor's name.

    Raises:
        UsageError: there is no such node.
        ModelError: its output holds no floats.
    """
    nodes = foreign.graph.graph.node
    tensors = {name for one in nodes for name in one.output}
    tensor = node if node in tensors else {n.name: n.output[0] for n in nodes}.get(node, "")
    if not tensor:
        example = last_vector(foreign.graph)
        raise UsageError(
            f"--features {node}: {foreign.path} has no node or tensor of that name"
            + (f"; what its last layer takes is called {example}." if example else ".")
        )
    graph = onnx.ModelProto()
    graph.CopyFrom(foreign.graph)
    add_output(graph, tensor, foreign.path)
    return graph, tensor
