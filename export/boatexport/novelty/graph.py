"""The nodes of novelty in a graph: found, taken out, and put back after a conversion."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import onnx
from onnx import TensorProto

from boatexport.graph.graphs import add_output
from boatinfer.errors import ModelError
from boatinfer.models.card import Card, Golden
from boatinfer.storage.base import Place

__all__ = [
    "LOGITS",
    "NOVELTY",
    "PREFIX",
    "attach",
    "detach",
    "find_logits",
    "reattach",
    "without_novelty",
]

#: Name of the output, float32 [N, 1].
NOVELTY = "novelty"
PREFIX = "boatinfer/novelty/"
#: The tensor that all nodes take the logits from.
LOGITS = f"{PREFIX}logits"

_IDENTITIES = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"}


def find_logits(graph: onnx.ModelProto, card: Card) -> str:
    """The tensor before the softmax; without one, the scores of the card."""
    if card.outputs.logits is not None:
        return card.outputs.logits
    producers = {name: node for node in graph.graph.node for name in node.output}
    node = producers.get(str(card.outputs.probabilities))
    while node is not None and node.op_type in _IDENTITIES:
        node = producers.get(node.input[0])
    if node is None or node.op_type != "Softmax":
        return str(card.outputs.probabilities)
    return str(node.input[0])


def attach(
    graph: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[TensorProto],
    path: Place,
) -> None:
    """Adds nodes, weights and the output to a graph.

    Raises:
        ModelError: the graph has such tensors already, or cannot be run with them.
    """
    if any(NOVELTY in node.output for node in graph.graph.node):
        raise ModelError(f"{path} has a tensor {NOVELTY} already; use the original file.")
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(weights)
    add_output(graph, NOVELTY, path)


def detach(graph: onnx.ModelProto) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Takes the nodes and weights of `attach` out of a graph; none if there are none."""
    parts = graph.graph
    nodes = [node for node in parts.node if node.name.startswith(PREFIX) or node.name == NOVELTY]
    weights = [weight for weight in parts.initializer if weight.name.startswith(PREFIX)]
    for node in nodes:
        parts.node.remove(node)
    for weight in weights:
        parts.initializer.remove(weight)
    for output in [output for output in parts.output if output.name == NOVELTY]:
        parts.output.remove(output)
    return nodes, weights


def reattach(
    graph: onnx.ModelProto,
    detached: tuple[list[onnx.NodeProto], list[TensorProto]],
    card: Card,
    path: Place,
) -> None:
    """Adds what `detach` has taken out of a graph to what it was converted to."""
    nodes, weights = detached
    for node in nodes:
        if LOGITS in node.output:
            node.input[0] = find_logits(graph, card)
    if nodes:
        attach(graph, nodes, weights, path)


def without_novelty(card: Card, golden: Golden) -> tuple[Card, Golden]:
    """Card and golden images of the model without the output."""
    replace = msgspec.structs.replace
    outputs = replace(card.outputs, novelty=None)
    tests = [replace(test, novelty=None) for test in golden.images]
    return replace(card, outputs=outputs, novelty=None), replace(golden, images=tests)
