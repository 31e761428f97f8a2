"""Small image classifiers in the layouts of other tools, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ["red", "green", "blue", "none"]
SIZE = (20, 36)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_HIDDEN = 6
_Node = onnx.NodeProto


def torch_layout(
    *, batch: int | str | None = "N", ends: tuple[str, ...] = (), kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """As torchvision and timm export: float NCHW in, logits out.

    Args:
        batch: the first axis; None leaves it out, input and output being a single image's.
        ends: operators put after the logits.
        kind: of input and weights.
    """
    shape = [*([] if batch is None else [batch]), 3, *SIZE]
    nodes = [
        *([_node("Unsqueeze", ["input", "zero"], "image")] if batch is None else []),
        _node("Conv", ["image" if batch is None else "input", "kernel"], "conv", strides=[4, 4]),
        _node("Relu", ["conv"], "relu"),
        _node("GlobalAveragePool", ["relu"], "pool", name="/avgpool"),
        _node("Flatten", ["pool"], "flat", name="/flatten"),
        _node("Gemm", ["flat", "weights", "bias"], "one" if batch is None else "logits"),
        *([_node("Squeeze", ["one", "zero"], "logits")] if batch is None else []),
    ]
    name = "logits"
    for end in ends:
        nodes.append(_node(end, [name], end.lower()))
        name = end.lower()
    outputs = [*([] if batch is None else [batch]), len(CLASSES)]
    arrays = _weights("torch", np.float16 if kind == TensorProto.FLOAT16 else np.float32)
    return _model(nodes, ("input", kind, shape), [(name, kind, outputs)], arrays)


def tf_layout() -> onnx.ModelProto:
    """As tf2onnx exports a Keras network that scales inside: float NHWC, 0 to 255, softmax."""
    arrays = _weights("tf", np.float32) | {"scale": np.array(1 / 255, np.float32)}
    nodes = [
        _node("Mul", ["input_1", "scale"], "scaled"),
        _node("Transpose", ["scaled"], "nchw", perm=[0, 3, 1, 2]),
        _node("Conv", ["nchw", "kernel"], "conv", strides=[4, 4]),
        _node("Relu", ["conv"], "relu"),
        _node("ReduceMean", ["relu"], "model/pool/Mean:0", axes=[2, 3], keepdims=0),
        _node("MatMul", ["model/pool/Mean:0", "weights"], "product"),
        _node("Add", ["product", "bias"], "logits"),
        _node("Softmax", ["logits"], "predictions", axis=1),
    ]
    return _model(
        nodes,
        ("input_1", TensorProto.FLOAT, ["unk__7", *SIZE, 3]),
        [("predictions", TensorProto.FLOAT, ["unk__7", len(CLASSES)])],
        arrays,
    )


def save(model: onnx.ModelProto, path: Path, **metadata: str) -> Path:
    """Writes a model as another tool would, with its metadata."""
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def softmax(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of rows, in plain numpy."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _weights(seed: str, dtype: Any) -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(len(seed))
    arrays = {
        "kernel": random.normal(size=(_HIDDEN, 3, 4, 4)) / 3,
        "weights": random.normal(size=(_HIDDEN, len(CLASSES))) * 2,
        "bias": random.normal(size=len(CLASSES)),
    }
    return {name: array.astype(dtype) for name, array in arrays.items()} | {"zero": np.array([0])}


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> _Node:
    return helper.make_node(kind, inputs, [output], **attributes)


def _model(
    nodes: list[_Node],
    fed: tuple[str, int, list[Any]],
    outputs: list[tuple[str, int, list[Any]]],
    arrays: dict[str, npt.NDArray[Any]],
) -> onnx.ModelProto:
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "elsewhere",
        [helper.make_tensor_value_info(*fed)],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
