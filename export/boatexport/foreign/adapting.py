"""Gives a graph the input and output types of a model card, by nodes before and behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = [
    "adapt_input",
    "add_softmax",
    "all_nodes",
    "all_tensors",
    "average_crops",
    "embedding_scores",
    "single_score",
    "widen_bfloat16",
    "with_sigmoid",
]

#: Types of inputs that are fed as another type, which a node converts.
_FED_AS = {
    TensorProto.DOUBLE: TensorProto.FLOAT,
    **dict.fromkeys(
        (
            TensorProto.INT16,
            TensorProto.INT32,
            TensorProto.INT64,
            TensorProto.UINT16,
            TensorProto.UINT32,
            TensorProto.UINT64,
        ),
        TensorProto.UINT8,
    ),
}
_PREFIX = "boatinfer_"
_INPUT = f"{_PREFIX}image"


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields all nodes, including those of branches and loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from all_nodes(inner)


def all_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Yields all constant tensors, including those of branches and loops."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from [attribute.t, *attribute.tensors]
            for inner in [attribute.g, *attribute.graphs]:
                yield from all_tensors(inner)


def widen_bfloat16(model: onnx.ModelProto) -> bool:
    """Turns bfloat16, which onnxruntime does not compute on CPUs, into float32, exactly.

    Returns:
        Whether there was any.
    """
    found = False
    for tensor in all_tensors(model.graph):
        if tensor.data_type == TensorProto.BFLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
            found = True
    for node in all_nodes(model.graph):
        for attribute in node.attribute:
            if attribute.name in {"to", "dtype"} and attribute.i == TensorProto.BFLOAT16:
                attribute.i, found = TensorProto.FLOAT, True
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    for value in values:
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
            value.type.tensor_type.elem_type, found = TensorProto.FLOAT, True
    return found


def adapt_input(model: onnx.ModelProto) -> None:
    """Makes the graph's only input float32 or uint8, if it is of another type."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        return
    (fed,) = inputs
    kind = fed.type.tensor_type.elem_type
    if kind not in _FED_AS:
        return
    cast = helper.make_node("Cast", [_INPUT], [fed.name], f"{_PREFIX}cast", to=kind)
    model.graph.node.insert(0, cast)
    fed.name = _INPUT
    fed.type.tensor_type.elem_type = _FED_AS[kind]


def single_score(model: onnx.ModelProto, tensor: str, *, is_probability: bool) -> str:
    """Makes two scores of one, that of the second class.

    Args:
        model: the graph to change.
        tensor: its output, one number per image.
        is_probability: whether it is a probability; else it is a logit.

    Returns:
        The new output [N, 2], the probabilities 1 - p and p.
    """
    add = _Adder(model)
    rows = add.node("Reshape", add.as_float(tensor), add.constant([-1, 1]))
    second = rows if is_probability else add.node("Sigmoid", rows)
    first = add.node("Sub", add.constant(np.float32(1)), second)
    return add.output(add.node("Concat", first, second, axis=1), 2)


def with_sigmoid(model: onnx.ModelProto, tensor: str, count: int) -> str:
    """Adds a sigmoid; returns the new output [N, count]."""
    add = _Adder(model)
    flat = add.node("Reshape", add.as_float(tensor), add.constant([-1, count]))
    return add.output(add.node("Sigmoid", flat), count)


def add_softmax(model: onnx.ModelProto, tensor: str, count: int) -> str:
    """Adds a softmax over logits; returns the new output [N, count]."""
    add = _Adder(model)
    flat = add.node("Reshape", add.as_float(tensor), add.constant([-1, count]))
    return add.output(add.node("Softmax", flat, axis=1), count)


def embedding_scores(model: onnx.ModelProto, tensor: str) -> str:
    """Adds the probability of the only class of a model without classes, which is 1.

    Args:
        model: the graph to change.
        tensor: the embedding.

    Returns:
        The new output [N, 1].
    """
    add = _Adder(model)
    flat = add.node("Flatten", add.as_float(tensor), axis=1)
    zero = add.node("Mul", flat, add.constant(np.float32(0)))
    total = add.node("ReduceSum", zero, add.constant([1]), keepdims=1)
    return add.output(add.node("Add", total, add.constant(np.float32(1))), 1)


def average_crops(
    model: onnx.ModelProto, layout: str, size: tuple[int, int], outputs: dict[str, int], crops: int
) -> dict[str, str]:
    """Makes the graph take crops one below the other, and average its outputs over them.

    Args:
        model: the graph to change; its batch axis must be free.
        layout: ``NCHW`` or ``NHWC``.
        size: height and width of a crop.
        outputs: names of the outputs and their lengths.
        crops: number of crops of an image.

    Returns:
        The names of the new outputs by those of the old ones.
    """
    add = _Adder(model)
    (fed,) = (v for v in model.graph.input if v.name not in add.weights)
    inside, fed.name = fed.name, _INPUT if fed.name != _INPUT else f"{_INPUT}s"
    height, width = size
    if layout == "NHWC":
        single = add.first("Reshape", fed.name, add.constant([-1, height, width, 3]))
        axis = 1
    else:  # [N, 3, crops * H, W] -> [N, 3, crops, H, W] -> [N, crops, 3, H, W]
        parts = add.first("Reshape", fed.name, add.constant([-1, 3, crops, height, width]))
        turned = add.first("Transpose", parts, perm=[0, 2, 1, 3, 4])
        single = add.first("Reshape", turned, add.constant([-1, 3, height, width]))
        axis = 2
    add.first("Identity", single, output=inside)
    add.finish_first()
    fed.type.tensor_type.shape.dim[axis].dim_value = crops * height
    renamed = {}
    for name, length in outputs.items():
        grouped = add.node("Reshape", add.as_float(name), add.constant([-1, crops, length]))
        renamed[name] = add.output(add.node("ReduceMean", grouped, axes=[1], keepdims=0), length)
    return renamed


class _Adder:
    """Appends nodes with names of their own to a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model, self._first = model, list[onnx.NodeProto]()
        self.weights = {tensor.name for tensor in model.graph.initializer}
        self._opset = next(o.version for o in model.opset_import if o.domain in {"", "ai.onnx"})
        self._count = sum(n.name.startswith(_PREFIX) for n in model.graph.node)
        self._count += sum(name.startswith(_PREFIX) for name in self.weights)

    def _name(self) -> str:
        self._count += 1
        return f"{_PREFIX}{self._count}"

    def constant(self, value: Any) -> str:
        array = np.asarray(value, None if isinstance(value, np.generic) else np.int64)
        name = self._name()
        self._model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *inputs: str, **options: Any) -> str:
        inputs, options = self._of_opset(kind, inputs, options)
        name = self._name()
        self._model.graph.node.append(helper.make_node(kind, inputs, [name], name, **options))
        return name

    def _of_opset(
        self, kind: str, inputs: tuple[str, ...], options: dict[str, Any]
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Axes are an attribute in old opsets, and an input in new ones."""
        if kind == "ReduceSum" and self._opset < 13:
            return inputs[:1], options | {"axes": [1]}
        if kind == "ReduceMean" and self._opset >= 18:
            return (*inputs, self.constant(options["axes"])), {"keepdims": options["keepdims"]}
        return inputs, options

    def first(self, kind: str, *inputs: str, output: str = "", **options: Any) -> str:
        """As `node`, before all others once `finish_first` is called."""
        name = self._name()
        self._first.append(helper.make_node(kind, inputs, [output or name], name, **options))
        return output or name

    def finish_first(self) -> None:
        nodes = [*self._first, *self._model.graph.node]
        del self._model.graph.node[:]
        self._model.graph.node.extend(nodes)

    def as_float(self, tensor: str) -> str:
        return self.node("Cast", tensor, to=TensorProto.FLOAT)

    def output(self, tensor: str, length: int) -> str:
        shape: list[str | int | None] = ["batch", length]
        self._model.graph.output.append(
            helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape)
        )
        return tensor
