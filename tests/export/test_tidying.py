from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import convnet
from boatexport.graph.simplify import simplify

SIZE = (9, 11)


def build(
    nodes: list[onnx.NodeProto],
    kind: int = TensorProto.UINT8,
    outputs: tuple[str, ...] = ("y",),
    **arrays: Any,
) -> onnx.ModelProto:
    tensor = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "graph",
        [tensor("image", kind, ["batch", *SIZE, 3])],
        [tensor(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(made, opset_imports=opsets, ir_version=7)


def normalised(
    scale: Any, offset: Any, pad: int, *, bias: bool = False, order: str = "Mul Add Transpose"
) -> onnx.ModelProto:
    """A convolution of pixels * scale + offset, or (pixels - offset) / scale."""
    random = np.random.default_rng(0)
    nodes, last = [helper.make_node("Cast", ["image"], ["c"], to=TensorProto.FLOAT)], "c"
    for number, kind in enumerate(order.split()):
        constant = {"Mul": ["s"], "Div": ["s"], "Add": ["o"], "Sub": ["o"], "Transpose": []}[kind]
        perm: dict[str, Any] = {"perm": [0, 3, 1, 2]} if kind == "Transpose" else {}
        nodes.append(helper.make_node(kind, [last, *constant], [f"t{number}"], **perm))
        last = f"t{number}"
    inputs = [last, "w", *(["b"] if bias else [])]
    nodes.append(helper.make_node("Conv", inputs, ["y"], pads=[pad] * 4))
    weights = random.standard_normal((4, 3, 3, 3))
    return build(nodes, s=scale, o=offset, w=weights, b=random.standard_normal(4))


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def require_same(model: onnx.ModelProto, tidied: onnx.ModelProto, size: int = 3) -> None:
    onnx.checker.check_model(tidied, full_check=True)
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (size, *SIZE, 3), dtype=np.uint8)
    for output in model.graph.output:
        before = convnet.run(model, pixels, output.name)
        after = convnet.run(tidied, pixels, output.name)
        assert np.abs(before - after).max() <= 2e-6 * np.abs(before).max()


MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("scale", "offset", "pad", "folded"),
    [
        (1 / 255, 0, 1, True),
        (1 / 64, -2, 1, True),  # the zero point 128
        (1 / 127.5, -1, 1, False),  # 127.5 is no whole grey level
        (1 / 127.5, -1, 0, True),
        (1 / 255 / STD, -MEAN / STD, 1, False),
        (1 / 255 / STD, -MEAN / STD, 0, True),
        (-1 / 100, 2, 1, True),  # negative: the zero point 200
        (1 / 100, 4, 1, False),  # a zero point of -400 is none
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_the_normalisation_goes_where_it_is_exact(
    scale: Any, offset: Any, pad: int, folded: bool, bias: bool
) -> None:
    model = normalised(scale, offset, pad, bias=bias)
    tidied = simplify(model)
    rest = [] if folded else ["Add"]
    assert kinds(tidied) == ["Transpose", "DequantizeLinear", *rest, "Conv"]
    require_same(model, tidied)


@pytest.mark.parametrize("order", ["Transpose Mul Add", "Sub Transpose Div", "Mul Transpose Sub"])
def test_the_order_of_the_normalisation_does_not_matter(order: str) -> None:
    for_nchw = (1, 3, 1, 1) if order == "Transpose Mul Add" else (3,)
    scale = 1 / 255 / STD if "Mul" in order else STD
    if order == "Sub Transpose Div":
        offset, scale = MEAN, STD.reshape(1, 3, 1, 1)
    elif order == "Mul Transpose Sub":
        offset = MEAN.reshape(1, 3, 1, 1)
    else:
        offset = MEAN.reshape(for_nchw)
        scale = scale.reshape(for_nchw)
    model = normalised(scale, offset, 0, order=order)
    assert kinds(simplify(model)) == ["Transpose", "DequantizeLinear", "Conv"]
    require_same(model, simplify(model))


def test_what_cannot_be_folded_stays() -> None:
    mean_image = normalised(1 / 255, np.random.default_rng(0).random((*SIZE, 3)), 0)
    assert "Cast" in kinds(simplify(mean_image))
    require_same(mean_image, simplify(mean_image))
    cast = helper.make_node("Cast", ["image"], ["c"], to=TensorProto.FLOAT)
    other = helper.make_node("ReduceMean", ["c"], ["z"], axes=[1, 2], keepdims=0)
    nchw = helper.make_node("Transpose", ["c"], ["t"], perm=[0, 3, 1, 2])
    conv = helper.make_node("Conv", ["t", "w"], ["y"])
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3))
    twice = build([cast, other, nchw, conv], outputs=("y", "z"), w=weights)
    assert "Cast" in kinds(simplify(twice))
    require_same(twice, simplify(twice))


def test_what_computes_nothing_goes() -> None:
    there = helper.make_node("Transpose", ["t"], ["there"], perm=[0, 2, 3, 1])
    back = helper.make_node("Transpose", ["there"], ["back"], perm=[0, 3, 1, 2])
    nodes = [
        helper.make_node("Cast", ["image"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 3, 1, 2]),
        there,
        back,
        helper.make_node("Conv", ["back", "w", "b"], ["conv"]),
        helper.make_node("Identity", ["conv"], ["same"]),
        helper.make_node("BatchNormalization", ["same", "b", "b", "b", "v"], ["normal"]),
        helper.make_node("Dropout", ["normal"], ["y"]),
        helper.make_node("ReduceMean", ["there"], ["z"], axes=[1, 2], keepdims=0),
    ]
    random = np.random.default_rng(0)
    model = build(
        nodes,
        outputs=("y", "z"),
        w=random.standard_normal((4, 3, 3, 3)),
        b=random.uniform(1, 2, 4),
        v=random.uniform(1, 2, 4),
        unused=np.zeros(1000),
    )
    tidied = simplify(model)
    assert sorted(kinds(tidied)) == ["Cast", "Conv", "ReduceMean", "Transpose"]
    assert "unused" not in {tensor.name for tensor in tidied.graph.initializer}
    assert [entry.domain for entry in tidied.opset_import] == [""]
    require_same(model, tidied)


def test_a_whole_network_is_half_as_many_nodes_and_the_original_is_left_alone() -> None:
    model = convnet.graph()
    before = model.SerializeToString()
    tidied = simplify(model)
    assert model.SerializeToString() == before
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 40, 3), dtype=np.uint8)
    for output in ("probabilities", "features"):
        difference = np.abs(
            convnet.run(model, pixels, output) - convnet.run(tidied, pixels, output)
        )
        assert difference.max() < 1e-5
    assert kinds(tidied)[:4] == ["Transpose", "DequantizeLinear", "Conv", "Relu"]
    assert "Mul" not in kinds(tidied)
    assert tidied.ir_version == 7


def test_onnxruntime_leaves_the_weights_of_a_float32_file_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Behind a per-tensor DequantizeLinear some versions quantise them; no warning either."""
    tidied = simplify(normalised(1 / 255, 0, 1))
    (scale,) = (t for t in tidied.graph.initializer if t.name == "pixel_scale")
    assert list(scale.dims) == [3]
    convnet.run(tidied, np.zeros((1, *SIZE, 3), np.uint8), "y", log_severity_level=2)
    assert capfd.readouterr().err == ""
