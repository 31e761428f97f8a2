"""Collects nodes and weights that are added to a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["GraphBuilder"]


class GraphBuilder:
    """Collects nodes and weights of a graph.

    Args:
        prefix: prefix of the names of all new tensors.
        opset: opset of the graph; older ones have the axes of a reduction as an attribute.

    Attributes:
        nodes: the nodes.
        weights: the constants.
    """

    def __init__(self, prefix: str, opset: int = 13) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []
        self._prefix, self._opset = prefix, opset

    def weight(self, value: npt.ArrayLike, dtype: Any = np.float64) -> str:
        """Adds a constant; returns its name."""
        name = f"{self._prefix}weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def cast(self, tensor: str, dtype: int, output: str = "") -> str:
        """Adds a conversion to another type; returns the name of its output."""
        return self.node("Cast", tensor, to=dtype, output=output)

    def reshape(self, tensor: str, shape: list[int], output: str = "") -> str:
        """Adds a reshape; 0 keeps a length, -1 is for what is left."""
        return self.node("Reshape", tensor, self.weight(shape, np.int64), output=output)

    def reduce(self, op_type: str, tensor: str, axis: int, keepdims: int = 1) -> str:
        """Adds a reduction over an axis, such as ``ReduceMax``."""
        if self._opset < (13 if op_type == "ReduceSum" else 18):
            return self.node(op_type, tensor, axes=[axis], keepdims=keepdims)
        return self.node(op_type, tensor, self.weight([axis], np.int64), keepdims=keepdims)

    def node(self, op_type: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node; returns the name of its output."""
        name = output or f"{self._prefix}{op_type}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name
