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
        opset: opset of the graph; before 13, `reduce_sum` has its axes as an attribute.

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

    def reduce_sum(self, tensor: str, axis: int, output: str = "") -> str:
        """Adds a sum over an axis, which is dropped."""
        if self._opset < 13:
            return self.node("ReduceSum", tensor, axes=[axis], keepdims=0, output=output)
        axes = self.weight([axis], np.int64)
        return self.node("ReduceSum", tensor, axes, keepdims=0, output=output)

    def node(self, op_type: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node; returns the name of its output."""
        name = output or f"{self._prefix}{op_type}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name
