"""Adds a class-activation map to a graph: where in the image the predicted class was seen.

The map is the sum over the channels of the feature map times the gradient of the class's score
(HiResCAM; Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of
convolutional neural networks", 2020). Where a network averages its last feature map before one
linear layer, it is the class activation mapping of Zhou et al., "Learning deep features for
discriminative localization", 2016, up to a factor. The gradient is written as nodes, since the
layers between map and score are few: linear ones, ReLU, and changes of shape.

onnxruntime computes all outputs of a graph, whichever are asked for. So the nodes stand in a branch
that is computed only if the optional input `REQUEST`, false by default, is true.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from boatexport.graph.builder import GraphBuilder
from boatexport.graph.graphs import attributes, constants
from boatinfer.models.inference import REQUEST

__all__ = ["CLASS_ACTIVATION", "add_class_activation", "remove_class_activation"]

#: Name of the output, float32 [N, h, w].
CLASS_ACTIVATION = "class_activation"
_PREFIX = "boatinfer/activation/"
_MIN_OPSET = 11

#: Nodes that compute nothing, but for rounding.
_IDENTITIES = {"Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear"}
_RESHAPES = {"Flatten", "Reshape", "Squeeze"}
_POOLINGS = {"GlobalAveragePool", "ReduceMean", "ReduceSum"}


def add_class_activation(model: onnx.ModelProto, scores: str, classes: int) -> bool:
    """Adds the output `CLASS_ACTIVATION`, if the network has a feature map before its last layers.

    Args:
        model: the graph to change.
        scores: the output with probabilities or logits.
        classes: number of classes.

    Returns:
        Whether the output was added.
    """
    opset = max(o.version for o in model.opset_import if o.domain in {"", "ai.onnx"})
    outputs = {output.name for output in model.graph.output}
    if opset < _MIN_OPSET or CLASS_ACTIVATION in outputs:
        return False
    branch = GraphBuilder(_PREFIX, opset)
    if not _Head(model, branch).add(scores, classes):
        return False
    _add_branch(model.graph, branch)
    return True


def remove_class_activation(model: onnx.ModelProto) -> None:
    """Removes what `add_class_activation` has added, if anything."""
    graph = model.graph
    for group in (graph.output, graph.input, graph.initializer):
        for entry in [entry for entry in group if entry.name in {CLASS_ACTIVATION, REQUEST}]:
            group.remove(entry)
    for node in [node for node in graph.node if CLASS_ACTIVATION in node.output]:
        graph.node.remove(node)


def _add_branch(graph: onnx.GraphProto, branch: GraphBuilder) -> None:
    shape = ["activations", "rows", "columns"]
    tensor = helper.make_tensor_value_info
    there = tensor(branch.nodes[-1].output[0], TensorProto.FLOAT, shape)
    nothing = f"{_PREFIX}nothing"
    empty = numpy_helper.from_array(np.zeros((0, 1, 1), np.float32))
    constant = helper.make_node("Constant", [], [nothing], name=nothing, value=empty)
    absent = helper.make_graph(
        [constant], "absent", [], [tensor(nothing, TensorProto.FLOAT, shape)]
    )
    present = helper.make_graph(branch.nodes, "present", [], [there], branch.weights)
    node = helper.make_node(
        "If",
        [REQUEST],
        [CLASS_ACTIVATION],
        name=CLASS_ACTIVATION,
        then_branch=present,
        else_branch=absent,
    )
    graph.node.append(node)
    graph.input.append(tensor(REQUEST, TensorProto.BOOL, []))
    graph.initializer.append(numpy_helper.from_array(np.array(False), REQUEST))
    graph.output.append(tensor(CLASS_ACTIVATION, TensorProto.FLOAT, shape))


class _Map(NamedTuple):
    """The feature map.

    Attributes:
        tensor: its name; [N, D, h, w], [N, h, w, D], or [N, h * w, D].
        channels: the axis of the channels.
        sizes: h and w, if the tensor does not have them as axes.
        flattened: shape that a gradient of the flattened map is given; None if the map was pooled.
    """

    tensor: str
    channels: int
    sizes: tuple[int, int] | None = None
    flattened: list[int] | None = None


class _Head:
    """The layers between feature map and scores, which are walked from their end.

    Args:
        model: the graph.
        branch: collects the nodes of the gradient.
    """

    def __init__(self, model: onnx.ModelProto, branch: GraphBuilder) -> None:
        self._branch = branch
        self._producers = {name: node for node in model.graph.node for name in node.output}
        self._constants = constants(model.graph)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self._shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in [*inferred.value_info, *inferred.input, *inferred.output]
        }

    def add(self, scores: str, classes: int) -> bool:
        """Adds the map; says whether there is one."""
        if self._rank(scores) != 2:
            return False
        branch, logits = self._branch, scores
        node = self._producer(scores)
        while node is not None and node.op_type in _IDENTITIES:
            node = self._producer(node.input[0])
        if node is not None and node.op_type == "Softmax":
            logits = node.input[0]
        best = branch.node("ArgMax", scores, axis=1, keepdims=1)
        chosen = branch.node("Equal", best, branch.weight(np.arange(classes)[None], np.int64))
        found = self._back(logits, branch.cast(chosen, TensorProto.FLOAT))
        if found is None:
            return False
        gradient, map_ = found
        if map_.flattened is not None:
            gradient = branch.reshape(gradient, map_.flattened)
        elif map_.sizes is not None:
            gradient = branch.reshape(gradient, [0, 1, -1])
        else:
            shape = [0, -1, 1, 1] if map_.channels == 1 else [0, 1, 1, -1]
            gradient = branch.reshape(gradient, shape)
        weighted = branch.node("Mul", self._float(map_.tensor), gradient)
        total = branch.reduce("ReduceSum", weighted, map_.channels, keepdims=0)
        if map_.sizes is not None:
            branch.reshape(total, [0, *map_.sizes])
        return True

    def _back(self, tensor: str, gradient: str) -> tuple[str, _Map] | None:
        """Goes back from a tensor [N, K] with a gradient [N, K] to the feature map."""
        layers = 0
        while (node := self._producer(tensor)) is not None:
            before = node.input[0]
            if node.op_type in _POOLINGS:
                pooled = self._pooled(node)
                return None if pooled is None or not layers else (gradient, pooled)
            if node.op_type in _RESHAPES and self._rank(before) == 4:
                flattened = self._flattened(before)
                if flattened is not None:
                    return (gradient, flattened) if layers else None
            elif node.op_type == "Relu":
                positive = self._branch.node("Greater", self._float(tensor), self._zero())
                mask = self._branch.cast(positive, TensorProto.FLOAT)
                gradient = self._branch.node("Mul", gradient, mask)
            elif node.op_type == "Add" and any(map(self._is_constant, node.input)):
                before = next(name for name in node.input if not self._is_constant(name))
            elif node.op_type in {"MatMul", "Gemm"} and self._is_constant(node.input[1]):
                values = attributes(node)
                if values.get("transA") or values.get("alpha", 1.0) != 1.0:
                    return None
                weights, transposed = self._float(node.input[1]), values.get("transB", 0)
                gradient = self._branch.node("Gemm", gradient, weights, transB=1 - transposed)
                layers += 1
            elif node.op_type not in _IDENTITIES | _RESHAPES:
                return None
            tensor = before
        return None

    def _pooled(self, node: onnx.NodeProto) -> _Map | None:
        tensor = node.input[0]
        if node.op_type == "GlobalAveragePool":
            return _Map(tensor, 1) if self._rank(tensor) == 4 else None
        rank = self._rank(tensor)
        axes = sorted(axis % rank for axis in self._axes(node)) if rank else []
        if rank == 4 and axes in ([2, 3], [1, 2]):
            return _Map(tensor, 1 if axes == [2, 3] else 3)
        if rank == 3 and axes == [1]:
            sizes = self._sizes(tensor)
            return None if sizes is None else _Map(tensor, 2, sizes)
        return None

    def _axes(self, node: onnx.NodeProto) -> list[int]:
        if len(node.input) > 1 and node.input[1] in self._constants:
            return [int(axis) for axis in self._constants[node.input[1]]]
        return list(attributes(node).get("axes", []))

    def _flattened(self, tensor: str) -> _Map | None:
        """The map before a change to one axis, if it has more than one place."""
        before = self._transposed(tensor)
        channels = 3 if before is not None else 1
        shape = self._shapes[tensor][1:]
        places = shape[:2] if channels == 3 else shape[1:]
        if min(shape) < 1 or max(places) < 2:
            return None
        return _Map(tensor, channels, flattened=[0, *shape])

    def _sizes(self, tensor: str) -> tuple[int, int] | None:
        """Height and width of a map whose places are one axis, from the map that it is made of."""
        waiting = [tensor]
        while waiting:
            name = waiting.pop()
            node = self._producer(name)
            if self._rank(name) == 4 and node is not None and self._transposed(name) is not None:
                height, width = self._shapes[name][1:3]
                return (height, width) if height * width == self._shapes[tensor][1] else None
            if node is not None and node.op_type in {"Mul", "Softmax", *_IDENTITIES, *_RESHAPES}:
                waiting += node.input
        return None

    def _transposed(self, tensor: str) -> onnx.NodeProto | None:
        """The node that puts the channels of a tensor last, if that is how it is made."""
        node = self._producer(tensor)
        while node is not None and node.op_type in _IDENTITIES:
            node = self._producer(node.input[0])
        is_nhwc = node is not None and attributes(node).get("perm") == [0, 2, 3, 1]
        return node if is_nhwc else None

    def _is_constant(self, tensor: str) -> bool:
        node = self._producer(tensor)
        if node is not None and node.op_type in _IDENTITIES:
            return self._is_constant(node.input[0])
        return tensor in self._constants

    def _producer(self, tensor: str) -> onnx.NodeProto | None:
        return self._producers.get(tensor)

    def _rank(self, tensor: str) -> int:
        return len(self._shapes.get(tensor, []))

    def _float(self, tensor: str) -> str:
        return self._branch.cast(tensor, TensorProto.FLOAT)

    def _zero(self) -> str:
        return self._branch.weight(0, np.float32)
