"""Graph passes: the same function in fewer and faster nodes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from boatexport.graph.graphs import Array, attributes, constants, consumers, set_constant
from boatexport.graph.padding import fill_blocks

__all__ = ["PIXELS", "SCALE", "SHIFT", "ZERO_POINT", "add_to_bias", "drop_unused", "tidy"]

#: Names of the node that makes numbers of the bytes and of its constants.
PIXELS, SCALE, ZERO_POINT, SHIFT = "pixels_to_float", "pixel_scale", "pixel_zero", "pixel_shift"

_TO_NCHW = [0, 3, 1, 2]

#: A rest of this many grey levels is a rounding error of the normalisation's constants.
_ROUNDING = 1e-4


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Makes a graph smaller and faster, and keeps what it computes.

    Constants are folded, what computes nothing is dropped, and batch normalisations go into
    the convolutions before them (onnxslim). Then the normalisation of uint8 pixels goes into
    the first convolution where that is exact, transposes that undo each other go, and
    convolutions get whole blocks of channels.

    Args:
        model: is left as it is.

    Returns:
        The tidied model, with the same inputs, outputs and metadata.
    """
    import onnxslim

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tidied: onnx.ModelProto = onnxslim.slim(copy)
    _fold_normalisation(tidied.graph)
    _cancel_transposes(tidied.graph)
    fill_blocks(tidied.graph)
    drop_unused(tidied)
    return tidied


def _fold_normalisation(graph: onnx.GraphProto) -> None:
    """Turns Cast, Mul, Add, Transpose and Conv into Transpose, DequantizeLinear and Conv.

    One DequantizeLinear makes (pixels - zero point) * scale of the bytes. What no whole zero
    point can express goes into the bias of the convolution, or, where zeros that stand for
    pixels are padded, into an addition. Scale and zero point are given for each channel:
    per-tensor ones would let some versions of onnxruntime quantise the weights unasked.
    """
    (fed,) = graph.input
    if fed.type.tensor_type.elem_type != TensorProto.UINT8:
        return
    found = _normalisation(graph, fed.name)
    if found is None:
        return
    chain, conv, scale, offset = found
    zero = np.round(-offset / scale)
    zero = np.where((zero >= 0) & (zero <= 255), zero, 0)
    rest = offset + scale * zero
    if np.abs(rest / scale).max() < _ROUNDING:
        rest = np.zeros(3)
    elif not _is_padded(conv):
        add_to_bias(graph, conv, rest)
        rest = np.zeros(3)
    for node in chain:
        graph.node.remove(node)
    entry = [
        helper.make_node("Transpose", [fed.name], ["image_nchw"], "to_nchw", perm=_TO_NCHW),
        helper.make_node(
            "DequantizeLinear", ["image_nchw", SCALE, ZERO_POINT], [conv.input[0]], PIXELS, axis=1
        ),
    ]
    set_constant(graph, SCALE, scale.astype(np.float32))
    set_constant(graph, ZERO_POINT, zero.astype(np.uint8))
    if rest.any():
        entry[1].output[0] = "pixels"
        entry.append(helper.make_node("Add", ["pixels", SHIFT], [conv.input[0]], "shift_pixels"))
        set_constant(graph, SHIFT, rest.astype(np.float32).reshape(1, 3, 1, 1))
    for place, node in enumerate(entry):
        graph.node.insert(place, node)


def _normalisation(
    graph: onnx.GraphProto, tensor: str
) -> tuple[list[onnx.NodeProto], onnx.NodeProto, Array, Array] | None:
    """Finds what is done to the pixels before the first convolution.

    Returns:
        The nodes before the convolution, the convolution, and scale and offset, float64 [3];
        None where the graph begins in another way.
    """
    known, outputs = constants(graph), {output.name for output in graph.output}
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
            value = _per_channel(node, tensor, known, channels)
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
    weights = known.get(node.input[1])
    plain = weights is not None and weights.shape[1] == 3 and len(weights.shape) == 4
    has_bias = len(node.input) < 3 or node.input[2] in known
    if channels != (1, 3, 1, 1) or not (plain and has_bias and scale.all()):
        return None
    return chain, node, scale, offset


def _per_channel(
    node: onnx.NodeProto, tensor: str, known: dict[str, Array], channels: tuple[int, ...]
) -> Array | None:
    """The constant that a node combines the pixels with, as float64 [3]."""
    first, second = node.input
    other = second if first == tensor else first
    if other not in known or (first != tensor and node.op_type in {"Sub", "Div"}):
        return None
    try:
        return np.broadcast_to(known[other], channels).reshape(3).astype(np.float64)
    except ValueError:  # a mean image, say
        return None


def _is_padded(conv: onnx.NodeProto) -> bool:
    values = attributes(conv)
    automatic = values.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}
    return automatic or any(values.get("pads", []))


def add_to_bias(graph: onnx.GraphProto, conv: onnx.NodeProto, shift: Array) -> None:
    """Lets an unpadded convolution give what it would for input + shift, [C]."""
    known = constants(graph)
    weights = known[conv.input[1]].astype(np.float64)
    bias = known[conv.input[2]] if len(conv.input) > 2 else np.zeros(len(weights))
    if len(conv.input) < 3:
        conv.input.append("")
    conv.input[2] = f"{conv.output[0]}_bias"
    moved = bias + (weights * shift[:, None, None]).sum((1, 2, 3))
    set_constant(graph, conv.input[2], moved.astype(np.float32))


def _cancel_transposes(graph: onnx.GraphProto) -> None:
    """Lets who takes a tensor that was transposed there and back take the tensor itself."""
    made = {node.output[0]: node for node in graph.node if node.op_type == "Transpose"}
    for node in made.values():
        before = made.get(node.input[0])
        if before is None:
            continue
        first, second = attributes(before)["perm"], attributes(node)["perm"]
        if [first[axis] for axis in second] == sorted(first):
            for user in consumers(graph, node.output[0]):
                user.input[:] = [
                    before.input[0] if name == node.output[0] else name for name in user.input
                ]


def drop_unused(model: onnx.ModelProto) -> None:
    """Removes nodes and constants that nothing takes, and operator sets that no node is of."""
    graph = model.graph
    while True:
        taken = {name for node in graph.node for name in node.input}
        taken |= {output.name for output in graph.output}
        idle = [node for node in graph.node if taken.isdisjoint(node.output)]
        for node in idle:
            graph.node.remove(node)
        if not idle:
            break
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in taken]:
        graph.initializer.remove(tensor)
    del graph.value_info[:]
    domains = {node.domain for node in graph.node}
    for entry in [entry for entry in model.opset_import if entry.domain not in domains]:
        model.opset_import.remove(entry)
