"""Static int8 quantisation: QDQ format, per channel, with calibration images.

Activations are uint8, and weights int8 with a range of 7 bits: CPUs without VNNI instructions
add two products in 16 bits, which 8-bit weights overflow silently. With 7 bits all CPUs compute
the same sums (onnxruntime.ai, "Quantize ONNX Models", on reduce_range).
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

from boatexport.graph.calibration import calibrate_ranges, suppressed_output
from boatexport.graph.graphs import attributes, constants, consumers, set_constant, sort_nodes
from boatexport.graph.simplify import PIXELS, SCALE, SHIFT, ZERO_POINT, add_to_bias, drop_unused
from boatinfer.storage.files import temporary_folder

__all__ = ["TARGET_DIVERGENCE", "QuantisedGraph", "quantise"]

#: Divergence from the original, in nats, that is good enough: it changes a probability of 0.9
#: by about 0.02.
TARGET_DIVERGENCE = 0.002

#: Operators that onnxruntime computes in 8 bits on a CPU; not softmax, as its output, the
#: probabilities, would be rounded.
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
#: Operators with weights; sensitive ones stay in float32.
_LAYERS = ("Conv", "Gemm", "MatMul")

#: Number of images for ranking the layers.
_RANKING_IMAGES = 16

#: Measures the divergence of a graph from the original, on the first images or all.
MeasureDivergence = Callable[[onnx.ModelProto, int | None], float]


@dataclass(frozen=True)
class QuantisedGraph:
    """A quantised graph.

    Attributes:
        model: the graph.
        calibration: calibration method: ``min-max``, ``percentile`` or ``entropy``.
        float_layers: names of the sensitive layers that stay in float32.
        divergence: divergence from the original, in nats.
    """

    model: onnx.ModelProto
    calibration: str
    float_layers: list[str]
    divergence: float


def quantise(
    model: onnx.ModelProto,
    inputs: Sequence[dict[str, Any]],
    measure_divergence: MeasureDivergence,
    say: Callable[[str], None],
) -> QuantisedGraph:
    """Quantises a graph with the best calibration method, and keeps sensitive layers in float32.

    Args:
        model: a simplified graph; it is not changed.
        inputs: calibration inputs by name, one image each.
        measure_divergence: measures the divergence of a graph from the original, in nats, on a
            number of images, or on all.
        say: called with status messages.
    """
    prepared = _prepare(model)

    def quantised(calibration: str, float_layers: list[str]) -> QuantisedGraph:
        graph = _quantise(prepared, ranges[calibration], float_layers)
        return QuantisedGraph(graph, calibration, float_layers, measure_divergence(graph, None))

    ranges = calibrate_ranges(prepared, _OPERATORS, inputs)
    best = min((quantised(name, []) for name in ranges), key=lambda result: result.divergence)
    say(f"best calibration method: {best.calibration}, {best.divergence:.4f} nats from float32")
    if best.divergence <= TARGET_DIVERGENCE:
        return best
    say("measuring the sensitivity of the layers")
    sensitive = _sensitive_layers(prepared, ranges[best.calibration], measure_divergence)
    count = 1
    while best.divergence > TARGET_DIVERGENCE and count < 2 * len(sensitive):
        candidate = quantised(best.calibration, sensitive[:count])
        best = min(best, candidate, key=lambda result: result.divergence)
        count *= 2
    say(f"{len(best.float_layers)} layers stay in float32: {best.divergence:.4f} nats")
    return best


def _sensitive_layers(
    prepared: onnx.ModelProto, ranges: Any, measure_divergence: MeasureDivergence
) -> list[str]:
    """Returns the layers that diverge most when quantised alone, most sensitive first."""
    head = _head_nodes(prepared.graph)
    layers = [
        node.name
        for node in prepared.graph.node
        if node.op_type in _LAYERS and node.name not in head
    ]

    def divergence(float_layers: list[str]) -> float:
        return measure_divergence(_quantise(prepared, ranges, float_layers), _RANKING_IMAGES)

    baseline = divergence(layers)
    increases = {
        layer: divergence([other for other in layers if other != layer]) - baseline
        for layer in layers
    }
    ranked = sorted(layers, key=lambda layer: -increases[layer])
    return [layer for layer in ranked if increases[layer] > TARGET_DIVERGENCE / 2]


def _prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Prepares a graph for quantisation: fused operators, inferred shapes, raw pixels."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.metadata_props[:]
    _fold_pixel_shift(copy.graph)
    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder:
        original, fused = Path(folder) / "plain.onnx", Path(folder) / "fused.onnx"
        onnx.save(copy, original)
        with suppressed_output():
            quant_pre_process(original, fused, skip_symbolic_shape=True)
        prepared = onnx.load(fused)
    for number, node in enumerate(prepared.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    _replace_average_pooling(prepared.graph)
    return prepared


def _fold_pixel_shift(graph: onnx.GraphProto) -> None:
    """Lets the first convolution use the bytes of the image directly.

    This needs the same scale and zero point for all channels. A shift of at most half a grey
    level, which `boatexport.graph.simplify.simplify` adds if no integer zero point is exact, is
    moved to the bias; that is exact except at padding.
    """
    constant_values = constants(graph)
    if SCALE not in constant_values or any(
        np.ptp(constant_values[name]) for name in (SCALE, ZERO_POINT)
    ):
        return
    shift = next((node for node in graph.node if SHIFT in node.input), None)
    if shift is not None:
        if np.abs(constant_values[SHIFT]).max() > 0.51 * abs(constant_values[SCALE][0]):
            return
        (conv,) = consumers(graph, shift.output[0])
        add_to_bias(graph, conv, constant_values[SHIFT].reshape(3))
        conv.input[0] = shift.input[0]
        graph.node.remove(shift)
    for name in (SCALE, ZERO_POINT):
        set_constant(graph, name, constant_values[name][0])


def _replace_average_pooling(graph: onnx.GraphProto) -> None:
    """Replaces plain average pooling by convolution, which is ten times faster in 8 bits."""
    shapes = _shapes(graph)
    for node in [node for node in graph.node if node.op_type == "AveragePool"]:
        values, channels = attributes(node), shapes.get(node.input[0], [0, 0])[1]
        is_plain = values.get("auto_pad", b"NOTSET") in {b"NOTSET", b"VALID"}
        is_plain = (
            is_plain and set(values.get("dilations", [1])) == {1} and not values.get("ceil_mode")
        )
        if not channels or not is_plain or any(values.get("pads", [])):
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


def _head_nodes(graph: onnx.GraphProto) -> list[str]:
    """Returns the names of the head nodes, which stay in float32.

    They are found backwards from the outputs: nodes without spatial axes, up to and including
    the last layer with weights. They are about a thousandth of the computation.
    """
    shapes = _shapes(graph)
    producers = {name: node for node in graph.node for name in node.output}
    pending = [output.name for output in graph.output]
    head: list[str] = []
    while pending:
        tensor = pending.pop()
        node = producers.get(tensor)
        if node is None or node.name in head or _has_spatial_axes(shapes.get(tensor, [])):
            continue
        head.append(node.name)
        if node.op_type not in _LAYERS:
            pending += node.input
    return head


def _has_spatial_axes(shape: list[int]) -> bool:
    """Whether a tensor has spatial axes, [N, C, H, W], or tokens, [N, T, C]."""
    return len(shape) > 2 and any(
        size != 1 for size in (shape[2:] if len(shape) == 4 else shape[1:2])
    )


def _shapes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Returns the shapes of all tensors, 0 for unknown lengths."""
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.value_info, *graph.input, *graph.output]
    }


def _quantise(model: onnx.ModelProto, ranges: Any, float_layers: Sequence[str]) -> onnx.ModelProto:
    """Inserts QuantizeLinear and DequantizeLinear, except around the head and float layers.

    A shift of the pixels also stays in float32, as they have a scale per channel, which the
    8-bit addition of onnxruntime does not support.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    shifts = [node.name for node in copy.graph.node if SHIFT in node.input]
    float_nodes = [*_head_nodes(copy.graph), *shifts, *float_layers]
    constant_values = constants(copy.graph)
    pixels = next((n.output[0] for n in copy.graph.node if n.name == PIXELS), "")
    uses_bytes = pixels and constant_values[SCALE].ndim == 0
    overrides = (
        {pixels: [{"scale": constant_values[SCALE], "zero_point": constant_values[ZERO_POINT]}]}
        if uses_bytes
        else {}
    )
    with suppressed_output():
        quantizer = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=float_nodes,
            op_types_to_quantize=list(_OPERATORS),
            extra_options={"TensorQuantOverrides": overrides},
        )
        quantizer.quantize_model()
    quantised: onnx.ModelProto = quantizer.model.model
    if uses_bytes:
        _skip_requantising(quantised.graph, pixels)
    _prevent_weight_quantisation(quantised.graph, float_nodes)
    drop_unused(quantised)
    sort_nodes(quantised)
    return quantised


def _skip_requantising(graph: onnx.GraphProto, pixels: str) -> None:
    """Lets the nodes that dequantise quantised pixels use the original bytes."""
    (source,) = (node for node in graph.node if pixels in node.output)
    for requantize in consumers(graph, pixels):
        if requantize.op_type == "QuantizeLinear":
            for user in consumers(graph, requantize.output[0]):
                user.input[0] = source.input[0]


def _prevent_weight_quantisation(graph: onnx.GraphProto, layers: Sequence[str]) -> None:
    """Makes sure that onnxruntime computes the given layers in float32.

    Between DequantizeLinear and QuantizeLinear onnxruntime quantises weights itself, per tensor
    and to 8 bits, unless the input has a scale per channel (its optimiser
    WeightBiasQuantization, for Conv and Gemm). So their inputs get one, with equal values.
    """
    producers = {name: node for node in graph.node for name in node.output}
    constant_values = constants(graph)
    float_layers = [
        node for node in graph.node if node.name in layers and node.op_type in {"Conv", "Gemm"}
    ]
    for layer in float_layers:
        producer, weights, values = (
            producers.get(layer.input[0]),
            constant_values.get(layer.input[1]),
            attributes(layer),
        )
        if producer is None or producer.op_type != "DequantizeLinear" or weights is None:
            continue
        if layer.op_type == "Conv":
            channels = weights.shape[1] * values.get("group", 1)
        else:
            channels = weights.shape[values.get("transB", 0)]
        inputs = [producer.input[0], *(f"{name}_of_{layer.name}" for name in producer.input[1:])]
        for name, original in zip(inputs[1:], producer.input[1:], strict=True):
            set_constant(graph, name, np.repeat(constant_values[original], channels))
        layer.input[0] = f"{layer.name}_input"
        graph.node.append(
            helper.make_node(
                "DequantizeLinear", inputs, [layer.input[0]], f"{layer.name}_dequantize", axis=1
            )
        )
