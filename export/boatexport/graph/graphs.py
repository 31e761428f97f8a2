"""Helper functions for ONNX graphs."""

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

_TENSOR_TYPES = {"tensor(float)": TensorProto.FLOAT, "tensor(float16)": TensorProto.FLOAT16}


def add_output(graph: onnx.ModelProto, tensor: str, path: Place) -> None:
    """Adds an inner tensor as an output, with the type and shape inferred by onnxruntime.

    Args:
        graph: the graph to change, unless the tensor is an output already.
        tensor: name of the tensor.
        path: the model file, for error messages.

    Raises:
        ModelError: the tensor is not floating-point, or onnxruntime cannot load the graph.
    """
    if tensor in {output.name for output in graph.graph.output}:
        return
    graph.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = open_session(graph.SerializeToString(), path, "cpu")[0]
    (inferred,) = (output for output in session.get_outputs() if output.name == tensor)
    if inferred.type not in _TENSOR_TYPES:
        raise ModelError(
            f"{path}: {tensor} is a {inferred.type}, but features must be floating-point."
        )
    info = onnx.helper.make_tensor_value_info(tensor, _TENSOR_TYPES[inferred.type], inferred.shape)
    graph.graph.output[-1].CopyFrom(info)


def consumers(graph: onnx.GraphProto, tensor: str) -> list[onnx.NodeProto]:
    """Returns the nodes that use a tensor."""
    return [node for node in graph.node if tensor in node.input]


def constants(graph: onnx.GraphProto) -> dict[str, Array]:
    """Returns the constants of a graph by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def set_constant(graph: onnx.GraphProto, name: str, value: Array) -> None:
    """Adds a constant or replaces its value."""
    tensor = numpy_helper.from_array(value, name)
    for constant in graph.initializer:
        if constant.name == name:
            constant.CopyFrom(tensor)
            return
    graph.initializer.append(tensor)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Returns the attributes of a node by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def sort_nodes(graph: onnx.ModelProto) -> None:
    """Sorts the nodes topologically."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    ONNXModel(graph).topological_sort()
