"""What several commands do to an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from boatinfer.errors import ModelError
from boatinfer.models.session import open_session
from boatinfer.storage.base import Place

__all__ = [
    "Array",
    "add_output",
    "attributes",
    "constants",
    "consumers",
    "set_constant",
    "sort_nodes",
]

Array = npt.NDArray[Any]

_KINDS = {"tensor(float)": TensorProto.FLOAT, "tensor(float16)": TensorProto.FLOAT16}


def add_output(graph: onnx.ModelProto, tensor: str, path: Place) -> None:
    """Makes an inner tensor an output, of the type and shape that onnxruntime finds out.

    Args:
        graph: is changed, unless the tensor is an output already.
        tensor: its name.
        path: names the file in error messages.

    Raises:
        ModelError: the tensor holds no floats, or onnxruntime cannot load the graph.
    """
    if tensor in {output.name for output in graph.graph.output}:
        return
    graph.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = open_session(graph.SerializeToString(), path, "cpu")[0]
    (found,) = (output for output in session.get_outputs() if output.name == tensor)
    if found.type not in _KINDS:
        raise ModelError(f"{path}: {tensor} is a {found.type}, and features are floats.")
    info = onnx.helper.make_tensor_value_info(tensor, _KINDS[found.type], found.shape)
    graph.graph.output[-1].CopyFrom(info)


def consumers(graph: onnx.GraphProto, tensor: str) -> list[onnx.NodeProto]:
    """The nodes that take a tensor."""
    return [node for node in graph.node if tensor in node.input]


def constants(graph: onnx.GraphProto) -> dict[str, Array]:
    """The graph's constants, by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def set_constant(graph: onnx.GraphProto, name: str, value: Array) -> None:
    """Adds a constant, or gives one another value."""
    tensor = numpy_helper.from_array(value, name)
    for known in graph.initializer:
        if known.name == name:
            known.CopyFrom(tensor)
            return
    graph.initializer.append(tensor)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes, by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def sort_nodes(graph: onnx.ModelProto) -> None:
    """Brings the nodes into an order in which each comes after those that it takes from."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    ONNXModel(graph).topological_sort()
