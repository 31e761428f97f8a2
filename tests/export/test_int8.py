from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import convnet
from boatexport.comparison import divergence
from boatexport.graph import int8
from boatexport.graph.calibration import calibrate_ranges
from boatexport.graph.simplify import simplify

ALL = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
NONE = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL


def noise(count: int, seed: int = 0) -> Any:
    """Pictures with blobs: noise of 3 x 5 places, enlarged."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (count, 3, 5, 3), dtype=np.uint8)
    return small.repeat(4, axis=1).repeat(8, axis=2)


def quantise(model: onnx.ModelProto, say: Any = lambda _: None) -> int8.QuantisedGraph:
    judged = noise(24, seed=1)
    expected = convnet.run(model, judged)

    def diverges(other: onnx.ModelProto, most: int | None) -> float:
        return divergence(expected[:most], convnet.run(other, judged[:most]))

    return int8.quantise(
        simplify(model), [{"image": one[None]} for one in noise(24)], diverges, say
    )


@pytest.fixture(scope="module")
def fitted() -> onnx.ModelProto:
    model = convnet.graph()
    convnet.fit(model)
    return model


@pytest.fixture(scope="module")
def quantised(fitted: onnx.ModelProto) -> int8.QuantisedGraph:
    return quantise(fitted)


def test_it_stays_close_to_the_original(
    fitted: onnx.ModelProto, quantised: int8.QuantisedGraph
) -> None:
    onnx.checker.check_model(quantised.model, full_check=True)
    pixels = noise(50, seed=2)
    before, after = (convnet.run(model, pixels) for model in (fitted, quantised.model))
    assert quantised.divergence <= int8.TARGET_DIVERGENCE
    assert quantised.float_layers == []
    assert np.abs(before - after).max() < 0.1
    assert np.mean(before.argmax(axis=1) == after.argmax(axis=1)) >= 0.94


def test_the_first_convolution_takes_the_bytes_and_pooling_is_one(
    quantised: int8.QuantisedGraph,
) -> None:
    users = {name: node for node in quantised.model.graph.node for name in node.input}
    chain = [users["image"]]
    while chain[-1].op_type != "Conv":
        chain.append(users[chain[-1].output[0]])
    assert [node.op_type for node in chain] == ["Transpose", "DequantizeLinear", "Conv"]
    convolutions = [node for node in quantised.model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 4  # three, and the pooling


def test_a_mean_of_its_own_for_each_channel() -> None:
    """As ResNet50 has; onnxruntime's 8-bit addition refuses a scale for each channel."""
    model = convnet.graph(offset=[-103.939 / 64, -116.779 / 64, -123.68 / 64])
    convnet.fit(model)
    found = quantise(model)
    pixels = noise(30, seed=2)
    before, after = (convnet.run(graph, pixels) for graph in (model, found.model))
    assert found.float_layers == []
    assert np.abs(before - after).max() < 0.1


def test_weights_are_per_channel_and_of_seven_bits(quantised: int8.QuantisedGraph) -> None:
    """Two products of 8-bit weights would overflow on processors without VNNI."""
    arrays = {t.name: numpy_helper.to_array(t) for t in quantised.model.graph.initializer}
    weights = {n: a for n, a in arrays.items() if a.dtype == np.int8 and a.ndim == 4}
    assert len(weights) == 4
    for name, values in weights.items():
        assert np.abs(values).max() <= 64
        assert arrays[name.replace("_quantized", "_scale")].shape == (len(values),)


def test_optimised_sums_do_not_overflow(quantised: int8.QuantisedGraph) -> None:
    """White pictures give the largest sums; what computes in float32 cannot overflow."""
    pixels = np.concatenate([np.full((2, 12, 40, 3), 255, np.uint8), noise(30, seed=3)])
    integers = convnet.run(quantised.model, pixels, graph_optimization_level=ALL)
    floats = convnet.run(quantised.model, pixels, graph_optimization_level=NONE)
    assert np.abs(integers - floats).max() < 0.05


def test_results_are_no_multiples_of_a_255th(quantised: int8.QuantisedGraph) -> None:
    for output in ("probabilities", "features"):
        values = convnet.run(quantised.model, noise(200, seed=4), output)
        assert max(len(np.unique(column)) for column in values.T) > 150
    sums = convnet.run(quantised.model, noise(9)).sum(axis=1)
    assert np.abs(sums - 1).max() < 1e-5


def with_a_bad_layer() -> onnx.ModelProto:
    """One channel between two convolutions is so large that 8 bits leave nothing of the others."""
    model = convnet.graph()
    arrays = {t.name: t for t in model.graph.initializer}
    wide, narrow = np.ones(convnet.CHANNELS), np.ones(convnet.CHANNELS)
    wide[0], narrow[0] = 3000, 1 / 3000
    for name, factor in [
        ("depthwise", wide[:, None, None, None]),
        ("pointwise", narrow[:, None, None]),
    ]:
        values = numpy_helper.to_array(arrays[name]) * factor.astype(np.float32)
        arrays[name].CopyFrom(numpy_helper.from_array(values, name))
    convnet.fit(model)
    return model


def test_layers_that_hurt_are_found_and_stay_in_float32() -> None:
    model = with_a_bad_layer()
    said: list[str] = []
    found = quantise(model, said.append)
    assert found.float_layers
    assert found.divergence < int8.TARGET_DIVERGENCE
    assert any("the sensitivity of the layers" in line for line in said)
    kept = [node for node in found.model.graph.node if node.name in found.float_layers]
    constants = {t.name: t.data_type for t in found.model.graph.initializer}
    assert {constants[node.input[1]] for node in kept} == {TensorProto.FLOAT}
    names = {node.output[0]: node.name for node in model.graph.node}
    assert {names["deep"], names["point"]} & set(found.float_layers)


def test_a_layer_that_is_kept_is_not_quantised_by_onnxruntime() -> None:
    """Its optimiser takes a convolution between 8-bit tensors for one it may quantise."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((8, 8, 1, 1)).astype(np.float32)
    weights[0] *= 1000  # per tensor, 8 bits leave nothing of the other channels
    head = (random.standard_normal((8, 3)) / 100).astype(np.float32)
    head[0] /= 1000
    tensor = helper.make_tensor_value_info
    stem = (random.standard_normal((8, 3, 1, 1)) / 99).astype(np.float32)
    arrays = {"s": stem, "w": weights, "h": head}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Cast", ["image"], ["c"], to=TensorProto.FLOAT),
                helper.make_node("Transpose", ["c"], ["t"], perm=[0, 3, 1, 2]),
                helper.make_node("Conv", ["t", "s"], ["first"], name="first"),
                helper.make_node("Relu", ["first"], ["relu"]),
                helper.make_node("Conv", ["relu", "w"], ["second"], name="second"),
                helper.make_node("MaxPool", ["second"], ["pooled"], kernel_shape=[2, 2]),
                helper.make_node("GlobalAveragePool", ["pooled"], ["mean"]),
                helper.make_node("Flatten", ["mean"], ["flat"]),
                helper.make_node("MatMul", ["flat", "h"], ["logits"]),
                helper.make_node("Softmax", ["logits"], ["probabilities"]),
            ],
            "graph",
            [tensor("image", TensorProto.UINT8, ["batch", 12, 40, 3])],
            [tensor("probabilities", TensorProto.FLOAT, ["batch", 3])],
            [numpy_helper.from_array(a, n) for n, a in arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=7,
    )
    prepared = int8._prepare(simplify(model))
    fed = [{"image": one[None]} for one in noise(8)]
    found = calibrate_ranges(prepared, int8._OPERATORS, fed)["min-max"]
    mixed = int8._quantise(prepared, found, ["second"])
    assert sum(node.op_type == "QuantizeLinear" for node in mixed.graph.node) >= 2
    pixels = noise(40, seed=5)
    plain = convnet.run(mixed, pixels, graph_optimization_level=NONE)
    optimised = convnet.run(mixed, pixels, graph_optimization_level=ALL)
    assert np.abs(plain - optimised).max() < 0.01
