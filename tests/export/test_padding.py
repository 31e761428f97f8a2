"""Channels are added where that changes nothing, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import convnet
from boatexport.graph.simplify import simplify

SIZE = (12, 20)


def network(
    channels: tuple[int, ...],
    between: str = "Relu",
    *,
    bias: bool = True,
    group: int = 1,
    more: tuple[onnx.NodeProto, ...] = (),
    outputs: tuple[str, ...] = (),
    shared: bool = False,
) -> onnx.ModelProto:
    """Convolutions of so many channels, the tensors t0, t1 and so on, with a layer after each."""
    random, arrays = np.random.default_rng(0), dict[str, Any]()
    nodes = [
        helper.make_node("Cast", ["image"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 3, 1, 2]),
    ]
    last, depth = "t", 3
    for number, count in enumerate(channels):
        groups = group if number else 1
        name = "w1" if shared and number else f"w{number}"
        arrays[name] = random.standard_normal((count, depth // groups, 3, 3))
        arrays[f"b{number}"] = random.standard_normal(count)
        inputs = [last, name, *([f"b{number}"] if bias else [])]
        nodes.append(helper.make_node("Conv", inputs, [f"conv{number}"], group=groups))
        pooling: dict[str, Any] = {"kernel_shape": [2, 2]} if "Pool" in between else {}
        nodes.append(helper.make_node(between, [f"conv{number}"], [f"t{number}"], **pooling))
        last, depth = f"t{number}", count
    nodes.append(helper.make_node("ReduceMean", [last], ["y"], axes=[2, 3], keepdims=0))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [*nodes, *more],
        "graph",
        [tensor("image", TensorProto.UINT8, ["batch", *SIZE, 3])],
        [tensor(name, TensorProto.FLOAT, None) for name in ("y", *outputs)],
        [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def widths(model: onnx.ModelProto) -> list[int]:
    """How many channels each convolution gives."""
    shapes = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer}
    return [shapes[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]


def require_same(model: onnx.ModelProto, tidied: onnx.ModelProto) -> None:
    onnx.checker.check_model(tidied, full_check=True)
    pixels = np.random.default_rng(1).integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
    for output in model.graph.output:
        before = convnet.run(model, pixels, output.name)
        after = convnet.run(tidied, pixels, output.name)
        assert before.shape == after.shape
        assert np.abs(before - after).max() <= 2e-6 * np.abs(before).max()


@pytest.mark.parametrize("between", ["Relu", "Sigmoid", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("bias", [False, True])
def test_channels_between_convolutions_fill_blocks(between: str, bias: bool) -> None:
    model = network((30, 15, 6), between, bias=bias)
    tidied = simplify(model)
    assert widths(tidied) == [32, 16, 6]
    require_same(model, tidied)
    assert widths(simplify(tidied)) == [32, 16, 6]


def test_two_convolutions_may_share_their_weights() -> None:
    model = network((14, 14, 14), shared=True)
    tidied = simplify(model)
    assert widths(tidied) == [16, 16, 14]
    require_same(model, tidied)


def test_two_convolutions_may_take_the_same_channels() -> None:
    beside = helper.make_node("Conv", ["t0", "w1"], ["z"])
    model = network((30, 15), more=(beside,), outputs=("z",))
    tidied = simplify(model)
    assert sorted(widths(tidied)) == [15, 15, 32]
    require_same(model, tidied)


@pytest.mark.parametrize(
    "model",
    [
        network((32, 16, 6)),
        network((9, 5)),  # too many would come to too few
        network((30, 30), group=30),  # one filter a channel
        network((30, 15), outputs=("t0",)),  # somebody sees the channels
        network((30, 15), "Softmax"),  # which looks at all of them
        network(
            (30, 15),
            more=(helper.make_node("ReduceMean", ["t0"], ["z"], axes=[1]),),
            outputs=("z",),
        ),
    ],
    ids=["even", "few", "depthwise", "output", "softmax", "mean"],
)
def test_channels_stay_as_they_are(model: onnx.ModelProto) -> None:
    tidied = simplify(model)
    assert widths(tidied) == widths(model)
    require_same(model, tidied)
