"""Graph passes that simplify a graph without changing its function."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from boatexport.graph.graphs import Array, attributes, constants, consumers, set_constant
from boatexport.graph.padding import pad_channels

__all__ = ["PIXELS", "SCALE", "SHIFT", "ZERO_POINT", "add_to_bias", "drop_unused", "simplify"]

#: Names of the DequantizeLinear node of the pixels, and of its constants.
PIXELS, SCALE, ZERO_POINT, SHIFT = "pixels_to_float", "pixel_scale", "pixel_zero", "pixel_shift"

_TO_NCHW = [0, 3, 1, 2]

#: Remainders below this, in grey levels, are rounding errors of the normalisation constants.
_ROUNDING_ERROR = 1e-4


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Makes a graph smaller and faster without changing its function.

    Constants are folded, nodes without effect are removed, and batch normalisation is fused into
    convolutions (onnxslim). Then the normalisation of uint8 pixels is folded into the first
    convolution where that is exact, inverse transposes are removed, and the channels of
    convolutions are padded to whole blocks.

    Args:
        model: the model; it is not changed.

    Returns:
        The simplified model, with the same inputs, outputs and metadata.
    """
    import onnxslim

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    simplified: onnx.ModelProto = onnxslim.slim(copy)
    _fold_normalisation(simplified.graph)
    _cancel_transposes(simplified.graph)
    pad_channels(simplified.graph)
    drop_unused(simplified)
    return simplified


def _fold_normalisation(graph: onnx.GraphProto) -> None:
    """Replaces Cast, Mul, Add, Transpose and Conv by Transpose, DequantizeLinear and Conv.

    DequantizeLinear computes (pixels - zero point) * scale. What an integer zero point cannot
    express is added to the bias of the convolution or, if the convolution is padded, by an Add.
    Scale and zero point are per channel, as per-tensor ones would make some versions of
    onnxruntime quantise the weights.
    """
    (image_input,) = graph.input
    if image_input.type.tensor_type.elem_type != TensorProto.UINT8:
        return
    normalisation = _find_normalisation(graph, image_input.name)
    if normalisation is None:
        return
    chain, conv, scale, offset = normalisation
    zero = np.round(-offset / scale)
    zero = np.where((zero >= 0) & (zero <= 255), zero, 0)
    remainder = offset + scale * zero
    if np.abs(remainder / scale).max() < _ROUNDING_ERROR:
        remainder = np.zeros(3)
    elif not _is_padded(conv):
        add_to_bias(graph, conv, remainder)
        remainder = np.zeros(3)
    for node in chain:
        graph.node.remove(node)
    new_nodes = [
        helper.make_node("Transpose", [image_input.name], ["image_nchw"], "to_nchw", perm=_TO_NCHW),
        helper.make_node(
            "DequantizeLinear", ["image_nchw", SCALE, ZERO_POINT], [conv.input[0]], PIXELS, axis=1
        ),
    ]
    set_constant(graph, SCALE, scale.astype(np.float32))
    set_constant(graph, ZERO_POINT, zero.astype(np.uint8))
    if remainder.any():
        new_nodes[1].output[0] = "pixels"
        new_nodes.append(
            helper.make_node("Add", ["pixels", SHIFT], [conv.input[0]], "shift_pixels")
        )
        set_constant(graph, SHIFT, remainder.astype(np.float32).reshape(1, 3, 1, 1))
    for position, node in enumerate(new_nodes):
        graph.node.insert(position, node)


def _find_normalisation(
    graph: onnx.GraphProto, tensor: str
) -> tuple[list[onnx.NodeProto], onnx.NodeProto, Array, Array] | None:
    """Finds the normalisation of the pixels before the first convolution.

    Returns:
        The nodes before the convolution, the convolution, and scale and offset, float64 [3];
        None if the graph starts differently.
    """
    constant_values, outputs = constants(graph), {output.name for output in graph.output}
    chain: list[onnx.NodeProto] = []
    scale, offset = np.ones(3), np.zeros(3)
    channels = (1, 1, 1, 3)
    while True:
        users = consumers(graph, tensor)
        if len(users) != 1 or tensor in outputs:
            return None
        (node,) = users
        if node.op_type == "Conv":
            break
        if node.op_type == "Transpose" and attributes(node)["perm"] == _TO_NCHW:
            channels = (1, 3, 1, 1)
        elif node.op_type in {"Mul", "Div", "Add", "Sub"}:
            value = _per_channel(node, tensor, constant_values, channels)
            if value is None:
                return None
            if node.op_type in {"Mul", "Div"}:
                factor = value if node.op_type == "Mul" else 1 / value
                scale, offset = scale * factor, offset * factor
            else:
                offset = offset + (value if node.op_type == "Add" else -value)
        elif node.op_type != "Cast" or attributes(node)["to"] != TensorProto.FLOAT:
            return None
        chain.append(node)
        tensor = node.output[0]
    weights = constant_values.get(node.input[1])
    is_rgb_conv = weights is not None and weights.shape[1] == 3 and len(weights.shape) == 4
    has_bias = len(node.input) < 3 or node.input[2] in constant_values
    if channels != (1, 3, 1, 1) or not (is_rgb_conv and has_bias and scale.all()):
        return None
    return chain, node, scale, offset


def _per_channel(
    node: onnx.NodeProto, tensor: str, constant_values: dict[str, Array], channels: tuple[int, ...]
) -> Array | None:
    """Returns the constant operand of a node as float64 [3], or None if it is not one."""
    first, second = node.input
    constant_input = second if first == tensor else first
    if constant_input not in constant_values or (
        first != tensor and node.op_type in {"Sub", "Div"}
    ):
        return None
    try:
        return (
            np.broadcast_to(constant_values[constant_input], channels).reshape(3).astype(np.float64)
        )
    except ValueError:  # such as a mean image
        return None


def _is_padded(conv: onnx.NodeProto) -> bool:
    values = attributes(conv)
    automatic = values.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}
    return automatic or any(values.get("pads", []))


def add_to_bias(graph: onnx.GraphProto, conv: onnx.NodeProto, shift: Array) -> None:
    """Changes the bias of an unpadded convolution as if shift, [C], were added to its input."""
    constant_values = constants(graph)
    weights = constant_values[conv.input[1]].astype(np.float64)
    bias = constant_values[conv.input[2]] if len(conv.input) > 2 else np.zeros(len(weights))
    if len(conv.input) < 3:
        conv.input.append("")
    conv.input[2] = f"{conv.output[0]}_bias"
    new_bias = bias + (weights * shift[:, None, None]).sum((1, 2, 3))
    set_constant(graph, conv.input[2], new_bias.astype(np.float32))


def _cancel_transposes(graph: onnx.GraphProto) -> None:
    """Bypasses pairs of transposes that are inverse to each other."""
    transposes = {node.output[0]: node for node in graph.node if node.op_type == "Transpose"}
    for node in transposes.values():
        before = transposes.get(node.input[0])
        if before is None:
            continue
        first, second = attributes(before)["perm"], attributes(node)["perm"]
        if [first[axis] for axis in second] == sorted(first):
            for user in consumers(graph, node.output[0]):
                user.input[:] = [
                    before.input[0] if name == node.output[0] else name for name in user.input
                ]


def drop_unused(model: onnx.ModelProto) -> None:
    """Removes unused nodes, constants and opset imports."""
    graph = model.graph
    while True:
        used = {name for node in graph.node for name in node.input}
        used |= {output.name for output in graph.output}
        unused = [node for node in graph.node if used.isdisjoint(node.output)]
        for node in unused:
            graph.node.remove(node)
        if not unused:
            break
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    del graph.value_info[:]
    domains = {node.domain for node in graph.node}
    for entry in [entry for entry in model.opset_import if entry.domain not in domains]:
        model.opset_import.remove(entry)
