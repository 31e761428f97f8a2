"""A residual network of a few convolutions with random weights, fitted to tell colours apart.

Its layers are those of real ones: a padded convolution on normalised pixels, batch
normalisation, a depthwise and a pointwise convolution, average pooling, a residual addition
and a global average. The last layer is fitted by least squares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import colours
from boatexport.convert import embed_card
from boatinfer import images
from boatinfer.models.card import Card, Features, Golden, GoldenImage, InputSpec, Outputs
from boatinfer.models.inference import infer

CHANNELS = 16
Array = npt.NDArray[Any]


def graph(scale: float = 1 / 64, offset: npt.ArrayLike = -2.0) -> onnx.ModelProto:
    """The network, with a last layer that gives the features alone."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> Array:
        fan_in = np.prod(shape[1:])
        return np.asarray(random.standard_normal(shape) * np.sqrt(2 / fan_in), np.float32)

    c = CHANNELS
    arrays: dict[str, Array] = {
        "scale": np.array(scale, np.float32),
        "offset": np.array(offset, np.float32),
        "stem": weights(c, 3, 3, 3),
        "gamma": random.uniform(0.5, 2, (1, c, 1, 1)).astype(np.float32),
        "beta": random.uniform(-0.5, 0.5, (1, c, 1, 1)).astype(np.float32),
        "depthwise": weights(c, 1, 3, 3),
        "pointwise": weights(c, c, 1, 1),
        "bias": weights(c, 1)[:, 0],
        "last": np.zeros((c, len(colours.CLASSES)), np.float32),
    }
    nodes = [
        _node("Cast", ["image"], "floats", to=TensorProto.FLOAT),
        _node("Mul", ["floats", "scale"], "scaled"),
        _node("Add", ["scaled", "offset"], "normalised"),
        _node("Transpose", ["normalised"], "nchw", perm=[0, 3, 1, 2]),
        _node("Conv", ["nchw", "stem"], "stemmed", strides=[2, 2], pads=[1, 1, 1, 1]),
        _node("Mul", ["stemmed", "gamma"], "times"),
        _node("Add", ["times", "beta"], "plus"),
        _node("Relu", ["plus"], "first"),
        _node("AveragePool", ["first"], "pooled", kernel_shape=[2, 2], strides=[2, 2]),
        _node("Conv", ["pooled", "depthwise"], "deep", group=c, pads=[1, 1, 1, 1]),
        _node("Relu", ["deep"], "second"),
        _node("Conv", ["second", "pointwise", "bias"], "point"),
        _node("Add", ["point", "pooled"], "sum"),
        _node("Relu", ["sum"], "third"),
        _node("GlobalAveragePool", ["third"], "means"),
        _node("Flatten", ["means"], "features"),
        _node("MatMul", ["features", "last"], "logits"),
        _node("Softmax", ["logits"], "probabilities", axis=1),
    ]
    tensor = helper.make_tensor_value_info
    size = (colours.SPEC.height, colours.SPEC.width)
    made = helper.make_graph(
        nodes,
        "convnet",
        [tensor("image", TensorProto.UINT8, ["batch", *size, 3])],
        [
            tensor("probabilities", TensorProto.FLOAT, ["batch", len(colours.CLASSES)]),
            tensor("features", TensorProto.FLOAT, ["batch", c]),
        ],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def fit(model: onnx.ModelProto) -> None:
    """Fits the last layer to pictures of the colours."""
    pixels = np.stack([p for name in colours.CLASSES for p in _pictures(name, range(100, 120))])
    truth = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    features = run(model, pixels, "features")
    last = np.linalg.lstsq(features, 6 * truth, rcond=None)[0].astype(np.float32)
    for tensor in model.graph.initializer:
        if tensor.name == "last":
            tensor.CopyFrom(numpy_helper.from_array(last, "last"))


def run(
    model: onnx.ModelProto, pixels: Array, output: str = "probabilities", **options: Any
) -> Any:
    """Runs a graph; options are those of ``onnxruntime.SessionOptions``."""
    given = onnxruntime.SessionOptions()
    for name, value in options.items():
        setattr(given, name, value)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), given, providers=["CPUExecutionProvider"]
    )
    return session.run([output], {"image": pixels})[0]


def card() -> Card:
    """Its card."""
    return colours.card(name="convnet", features=Features(CHANNELS, "means"))


def write_model(path: Path) -> Path:
    """Writes the fitted network with its card and golden images."""
    model = graph()
    fit(model)
    return _write(path, model, card())


def write_foreign(path: Path) -> Path:
    """Writes the network as others export them: normalised float32 NCHW in, logits out."""
    model = graph(scale=1 / 63.75, offset=-2)  # (pixel / 255 - 0.5) / 0.25
    fit(model)
    inside = {"floats", "scaled", "normalised", "nchw", "probabilities"}
    for node in [node for node in model.graph.node if node.output[0] in inside]:
        model.graph.node.remove(node)
    tensor = helper.make_tensor_value_info
    shape: list[str | int | None] = ["batch", 3, colours.SPEC.height, colours.SPEC.width]
    model.graph.input[0].CopyFrom(tensor("nchw", TensorProto.FLOAT, shape))
    model.graph.output[0].CopyFrom(tensor("logits", TensorProto.FLOAT, ["batch", 3]))
    spec = InputSpec("nchw", "float32", "NCHW", scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3)
    outputs = Outputs(logits="logits", features="features")
    described = msgspec.structs.replace(card(), input=spec, outputs=outputs)
    return _write(path, model, described)


def _write(path: Path, model: onnx.ModelProto, described: Card) -> Path:
    pictures = [colours.picture(name, seed=7) for name in colours.CLASSES]
    pixels = np.stack([images.read(picture, colours.SPEC) for picture in pictures])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    rows = infer(session, described.input, described.outputs, pixels).probabilities.tolist()
    golden = Golden(images=[GoldenImage(p, row) for p, row in zip(pictures, rows, strict=True)])
    path.write_bytes(embed_card(model, described, golden))
    return path


def _pictures(colour: str, seeds: range) -> list[Array]:
    return [images.read(colours.picture(colour, seed), colours.SPEC) for seed in seeds]


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"{kind}_{output}", **attributes)
