"""Static quantisation to 8 bits: QDQ, per channel, calibrated on images, checked by measurement.

Activations are uint8 and weights int8 of 7 bits: processors without VNNI instructions add
two products in 16 bits, which 8-bit weights overflow without a word. With 7 bits every
processor computes the same sums (onnxruntime.ai, "Quantize ONNX Models", on reduce_range).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from boatexport.graph.calibration import quiet, ranges
from boatexport.graph.graphs import attributes, constants, consumers, set_constant, sort_nodes
from boatexport.graph.simplify import PIXELS, SCALE, SHIFT, ZERO_POINT, add_to_bias, drop_unused
from boatinfer.storage.files import temporary_folder

__all__ = ["GOOD", "Quantised", "quantise"]

#: A divergence from the original, in nats, that needs no better: it moves a probability of
#: 0.9 by two hundredths.
GOOD = 0.002

#: What onnxruntime computes in 8 bits on a CPU. A softmax is not here: its rounded
#: probabilities would be the model's.
_OPERATORS = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Conv",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
#: Those with weights; one that hurts stays in float32.
_LAYERS = ("Conv", "Gemm", "MatMul")

#: Images that layers are ranked by.
_FEW = 16

Diverges = Callable[[onnx.ModelProto, int | None], float]


@dataclass(frozen=True)
class Quantised:
    """A quantised graph.

    Attributes:
        model: the graph.
        calibration: how its ranges were chosen: ``min-max``, ``percentile`` or ``entropy``.
        kept: names of the layers that stay in float32 because they hurt.
        divergence: from the original, nats.
    """

    model: onnx.ModelProto
    calibration: str
    kept: list[str]
    divergence: float


def quantise(
    model: onnx.ModelProto,
    fed: Sequence[dict[str, Any]],
    diverges: Diverges,
    say: Callable[[str], None],
) -> Quantised:
    """Quantises a graph in the best of three ways and keeps layers that hurt in float32.

    Args:
        model: a tidied graph; it is left as it is.
        fed: inputs by name, one image each, to calibrate on.
        diverges: measures how far a graph's probabilities are from the original's, nats, on
            the first so many images, or on all.
        say: is told what was found.
    """
    prepared = _prepare(model)

    def quantised(calibration: str, kept: list[str]) -> Quantised:
        graph = _quantise(prepared, found[calibration], kept)
        return Quantised(graph, calibration, kept, diverges(graph, None))

    found = ranges(prepared, _OPERATORS, fed)
    best = min((quantised(name, []) for name in found), key=lambda one: one.divergence)
    say(f"{best.calibration} ranges are the best: {best.divergence:.4f} nats from float32")
    if best.divergence <= GOOD:
        return best
    say("measuring which layers hurt")
    hurting = _layers_that_hurt(prepared, found[best.calibration], diverges)
    count = 1
    while best.divergence > GOOD and count < 2 * len(hurting):
        without = quantised(best.calibration, hurting[:count])
        best = min(best, without, key=lambda one: one.divergence)
        count *= 2
    say(f"{len(best.kept)} layers stay in float32: {best.divergence:.4f} nats")
    return best


def _layers_that_hurt(prepared: onnx.ModelProto, found: Any, diverges: Diverges) -> list[str]:
    """Names the layers that make a difference when they alone are quantised, the worst first."""
    head = _head(prepared.graph)
    layers = [
        node.name
        for node in prepared.graph.node
        if node.op_type in _LAYERS and node.name not in head
    ]

    def divergence(kept: list[str]) -> float:
        return diverges(_quantise(prepared, found, kept), _FEW)

    least = divergence(layers)
    alone = {
        layer: divergence([other for other in layers if other != layer]) - least for layer in layers
    }
    worst = sorted(layers, key=lambda layer: -alone[layer])
    return [layer for layer in worst if alone[layer] > GOOD / 2]


def _prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Brings a graph into the form that quantises best: fused, with shapes, pixels as they are."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.metadata_props[:]
    _take_bytes(copy.graph)
    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder:
        plain, fused = Path(folder) / "plain.onnx", Path(folder) / "fused.onnx"
        onnx.save(copy, plain)
        with quiet():
            quant_pre_process(plain, fused, skip_symbolic_shape=True)
        prepared = onnx.load(fused)
    for number, node in enumerate(prepared.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    _pool_by_convolution(prepared.graph)
    return prepared


def _take_bytes(graph: onnx.GraphProto) -> None:
    """Lets the first convolution take the bytes of the image as they are.

    That wants one scale and zero point for all channels. An addition of half a grey level at
    most, which `boatexport.graph.simplify.tidy` puts where no whole zero point fits, goes into the
    bias: exact but where padding is part of the sum.
    """
    known = constants(graph)
    if SCALE not in known or any(np.ptp(known[name]) for name in (SCALE, ZERO_POINT)):
        return
    shift = next((node for node in graph.node if SHIFT in node.input), None)
    if shift is not None:
        if np.abs(known[SHIFT]).max() > 0.51 * abs(known[SCALE][0]):
            return
        (conv,) = consumers(graph, shift.output[0])
        add_to_bias(graph, conv, known[SHIFT].reshape(3))
        conv.input[0] = shift.input[0]
        graph.node.remove(shift)
    for name in (SCALE, ZERO_POINT):
        set_constant(graph, name, known[name][0])


def _pool_by_convolution(graph: onnx.GraphProto) -> None:
    """Turns plain average pooling into a convolution, which is ten times faster in 8 bits."""
    shapes = _shapes(graph)
    for node in [node for node in graph.node if node.op_type == "AveragePool"]:
        values, channels = attributes(node), shapes.get(node.input[0], [0, 0])[1]
        plain = values.get("auto_pad", b"NOTSET") in {b"NOTSET", b"VALID"}
        plain = plain and set(values.get("dilations", [1])) == {1} and not values.get("ceil_mode")
        if not channels or not plain or any(values.get("pads", [])):
            continue
        size = values["kernel_shape"]
        weights = f"{node.output[0]}_weights"
        mean = np.full((channels, 1, *size), 1 / np.prod(size), np.float32)
        set_constant(graph, weights, mean)
        inputs, strides = [node.input[0], weights], values.get("strides", [1] * len(size))
        node.CopyFrom(
            helper.make_node(
                "Conv", inputs, node.output, node.name, group=channels, strides=strides
            )
        )


def _head(graph: onnx.GraphProto) -> list[str]:
    """Names the nodes that stay in float32 because the results come from them.

    They are found from the outputs backwards: what has no rows and columns any more, up to
    and including the last layer with weights. It is a thousandth of the work.
    """
    shapes = _shapes(graph)
    makers = {name: node for node in graph.node for name in node.output}
    waiting = [output.name for output in graph.output]
    head: list[str] = []
    while waiting:
        tensor = waiting.pop()
        node = makers.get(tensor)
        if node is None or node.name in head or _has_extent(shapes.get(tensor, [])):
            continue
        head.append(node.name)
        if node.op_type not in _LAYERS:
            waiting += node.input
    return head


def _has_extent(shape: list[int]) -> bool:
    """Whether a tensor still has places in the image: [N, C, H, W], or tokens [N, T, C]."""
    return len(shape) > 2 and any(
        size != 1 for size in (shape[2:] if len(shape) == 4 else shape[1:2])
    )


def _shapes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """The shapes of all tensors, 0 for what is not known."""
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.value_info, *graph.input, *graph.output]
    }


def _quantise(model: onnx.ModelProto, found: Any, kept: Sequence[str]) -> onnx.ModelProto:
    """Puts QuantizeLinear and DequantizeLinear around all nodes but the head and those kept.

    An addition to the pixels stays in float32 too: they have a scale for each channel, which
    onnxruntime's 8-bit addition does not know.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    shifts = [node.name for node in copy.graph.node if SHIFT in node.input]
    floats = [*_head(copy.graph), *shifts, *kept]
    known = constants(copy.graph)
    pixels = next((n.output[0] for n in copy.graph.node if n.name == PIXELS), "")
    raw = pixels and known[SCALE].ndim == 0
    overrides = {pixels: [{"scale": known[SCALE], "zero_point": known[ZERO_POINT]}]} if raw else {}
    with quiet():
        quantizer = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=found,
            nodes_to_quantize=[],
            nodes_to_exclude=floats,
            op_types_to_quantize=list(_OPERATORS),
            extra_options={"TensorQuantOverrides": overrides},
        )
        quantizer.quantize_model()
    quantised: onnx.ModelProto = quantizer.model.model
    if raw:
        _skip_requantising(quantised.graph, pixels)
    _keep_float(quantised.graph, floats)
    drop_unused(quantised)
    sort_nodes(quantised)
    return quantised


def _skip_requantising(graph: onnx.GraphProto, pixels: str) -> None:
    """Lets who dequantises the quantised pixels take the bytes they were made of."""
    (made,) = (node for node in graph.node if pixels in node.output)
    for again in consumers(graph, pixels):
        if again.op_type == "QuantizeLinear":
            for user in consumers(graph, again.output[0]):
                user.input[0] = made.input[0]


def _keep_float(graph: onnx.GraphProto, layers: Sequence[str]) -> None:
    """Sees to it that layers without quantised weights are computed in float32.

    Between DequantizeLinear and QuantizeLinear onnxruntime quantises weights itself, for the
    whole tensor and in 8 bits, unless the input has a scale for each channel (its optimiser
    WeightBiasQuantization, for Conv and Gemm). So theirs gets one: the same for all.
    """
    makers = {name: node for node in graph.node for name in node.output}
    known = constants(graph)
    kept = [node for node in graph.node if node.name in layers and node.op_type in {"Conv", "Gemm"}]
    for layer in kept:
        maker, weights, values = (
            makers.get(layer.input[0]),
            known.get(layer.input[1]),
            attributes(layer),
        )
        if maker is None or maker.op_type != "DequantizeLinear" or weights is None:
            continue
        if layer.op_type == "Conv":
            channels = weights.shape[1] * values.get("group", 1)
        else:
            channels = weights.shape[values.get("transB", 0)]
        inputs = [maker.input[0], *(f"{name}_of_{layer.name}" for name in maker.input[1:])]
        for name, given in zip(inputs[1:], maker.input[1:], strict=True):
            set_constant(graph, name, np.repeat(known[given], channels))
        layer.input[0] = f"{layer.name}_input"
        graph.node.append(
            helper.make_node(
                "DequantizeLinear", inputs, [layer.input[0]], f"{layer.name}_dequantize", axis=1
            )
        )
