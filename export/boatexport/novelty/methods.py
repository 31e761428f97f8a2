"""Ways to score how unlike the training images a feature vector is.

Each is fitted on features and logits, and written as nodes. Only these nodes are ever computed,
when a method is measured as well as in a model.

- ``confidence``: the negative logarithm of the largest probability (Hendrycks and Gimpel, 2017);
- ``energy``: the negative logarithm of the sum of exponentials of the logits (Liu et al., 2020);
- ``mahalanobis``: the distance to the nearest class mean, under a shared covariance (Lee et al.,
  2018);
- ``knn``: the cosine distance to the nearest vector of a coreset (Sun et al., 2022), which is
  chosen greedily, the farthest next, as by Roth et al. (PatchCore, 2022);
- ``vim``: the norm of the residual outside the principal subspace, scaled to the logits, less the
  energy (Wang et al., 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from boatexport.graph.builder import GraphBuilder
from boatinfer.models.inference import Floats
from boatinfer.models.session import open_session
from boatinfer.storage.locations import place

__all__ = ["METHODS", "Measured", "Nodes", "scores"]

#: Adds nodes from features [N, D] and logits [N, C] to scores [N, 1]; larger is more novel.
Nodes = Callable[[GraphBuilder, str, str], str]

#: Vectors in the coreset, at most, and principal components of very long features.
_CORESET, _COMPONENTS = 512, 256
#: Share of the variance in the principal subspace of ``vim``.
_PRINCIPAL = 0.95
#: Share of the mean variance that is added to the covariance.
_SHRINKAGE = 0.01

Doubles = npt.NDArray[np.float64]


class Measured(NamedTuple):
    """What the network says of N images.

    Attributes:
        features: float32 [N, D].
        logits: float32 [N, C].
        labels: int [N], the classes.
    """

    features: Floats
    logits: Floats
    labels: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.bool_]) -> Measured:
        """Some of the images."""
        return Measured(self.features[rows], self.logits[rows], self.labels[rows])


def _confidence(_: Measured) -> Nodes:
    def add(graph: GraphBuilder, _: str, logits: str) -> str:
        likelihoods = graph.node("LogSoftmax", logits, axis=1)
        return graph.node("Neg", graph.reduce("ReduceMax", likelihoods, 1))

    return add


def _energy(_: Measured) -> Nodes:
    def add(graph: GraphBuilder, _: str, logits: str) -> str:
        return graph.node("Neg", graph.reduce("ReduceLogSumExp", logits, 1))

    return add


def _mahalanobis(train: Measured) -> Nodes:
    features = train.features.astype(np.float64)
    classes, rows = np.unique(train.labels, return_inverse=True)
    means = np.stack([features[rows == index].mean(axis=0) for index in range(len(classes))])
    centre = means.mean(axis=0)
    values, axes = _principal(features - means[rows])
    whitening = axes / np.sqrt(values + _SHRINKAGE * values.mean())
    centres = (means - centre) @ whitening

    def add(graph: GraphBuilder, features: str, _: str) -> str:
        centred = graph.node("Sub", features, graph.weight(centre, np.float32))
        white = graph.node("MatMul", centred, graph.weight(whitening, np.float32))
        squares = graph.reduce("ReduceSumSquare", white, 1)
        products = graph.node("MatMul", white, graph.weight(-2 * centres.T, np.float32))
        distances = graph.node("Add", products, graph.weight((centres**2).sum(axis=1), np.float32))
        nearest = graph.reduce("ReduceMin", distances, 1)
        squared = graph.node("Relu", graph.node("Add", squares, nearest))
        return graph.node("Sqrt", squared)

    return add


def _knn(train: Measured) -> Nodes:
    unit = _unit(train.features)
    chosen = unit[_farthest(unit, _CORESET)]

    def add(graph: GraphBuilder, features: str, _: str) -> str:
        length = graph.reduce("ReduceL2", features, 1)
        safe = graph.node("Add", length, graph.weight(1e-9, np.float32))
        scaled = graph.node("Div", features, safe)
        products = graph.node("MatMul", scaled, graph.weight(chosen.T, np.float32))
        return graph.node("Neg", graph.reduce("ReduceMax", products, 1))

    return add


def _vim(train: Measured) -> Nodes:
    features = train.features.astype(np.float64)
    centre = features.mean(axis=0)
    values, axes = _principal(features - centre)
    inside = int(np.searchsorted(np.cumsum(values) / values.sum(), _PRINCIPAL)) + 1
    residual = axes[:, inside:] if inside < len(values) else axes[:, -1:]
    norms = np.linalg.norm((features - centre) @ residual, axis=1)
    alpha = float(np.abs(train.logits.max(axis=1)).mean() / max(norms.mean(), 1e-9))

    def add(graph: GraphBuilder, features: str, logits: str) -> str:
        centred = graph.node("Sub", features, graph.weight(centre, np.float32))
        rest = graph.node("MatMul", centred, graph.weight(alpha * residual, np.float32))
        norm = graph.reduce("ReduceL2", rest, 1)
        energy = graph.reduce("ReduceLogSumExp", logits, 1)
        return graph.node("Sub", norm, energy)

    return add


#: The methods by name; each is fitted on training images.
METHODS: dict[str, Callable[[Measured], Nodes]] = {
    "confidence": _confidence,
    "energy": _energy,
    "mahalanobis": _mahalanobis,
    "knn": _knn,
    "vim": _vim,
}


def scores(nodes: Nodes, images: Measured) -> Floats:
    """Computes the scores [N] of images, by a graph of these nodes alone."""
    builder = GraphBuilder("novelty/")
    output = nodes(builder, "features", "logits")
    tensor, kind = helper.make_tensor_value_info, TensorProto.FLOAT
    inputs = {"features": images.features, "logits": images.logits}
    graph = helper.make_graph(
        builder.nodes,
        "novelty",
        [tensor(name, kind, ["N", array.shape[1]]) for name, array in inputs.items()],
        [tensor(output, kind, ["N", 1])],
        builder.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    session, _ = open_session(model.SerializeToString(), place("novelty"), "cpu")
    return np.asarray(session.run([output], inputs)[0][:, 0])


def _principal(rows: Doubles) -> tuple[Doubles, Doubles]:
    """Variances [K] and axes [D, K] of centred rows, the largest first."""
    values, axes = np.linalg.eigh(rows.T @ rows / max(1, len(rows) - 1))
    order = np.argsort(values)[::-1][:_COMPONENTS]
    return np.maximum(values[order], 1e-12), axes[:, order]


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9), np.float32)


def _farthest(rows: Floats, count: int) -> npt.NDArray[np.int64]:
    """Indices of rows, each the farthest from those before."""
    chosen = [int((rows @ rows.mean(axis=0)).argmax())]
    nearest = rows @ rows[chosen[0]]
    while len(chosen) < min(count, len(rows)):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, rows @ rows[chosen[-1]])
    return np.array(chosen)
