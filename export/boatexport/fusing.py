"""Puts an SVM into the graph whose features it was fitted on.

The SVM becomes a few ordinary operators, so the file needs neither scikit-learn nor a pickle,
and runs wherever the network does. With features x, support vectors v, the kernel k and, for
each pair of classes i < j, coefficients a and intercept b, libsvm decides for i where
``sum(a k(x, v)) + b`` is not negative (Chang and Lin, "LIBSVM: A Library for Support Vector
Machines", 2011, sections 2.1 and 7). scikit-learn's scores are the votes, with the sum s of
the decisions added as ``s / (3 (|s| + 1))`` to part those of equal votes (its documentation
of ``SVC.decision_function``, shape ``ovr``); of two classes the scores are the decision and
its negative. A `Linear` one has one weight a class and feature. Calibrated scores go through
their sigmoids. All is computed in float64, as there and in `boatinfer.models.decision`.

skl2onnx would write this graph too, with ai.onnx.ml operators in float32. Its nodes grow with the
square of the classes (646 for 16 classes, 3,994 for 40, which take seconds to load; here 66 and
114), and version 1.20 gave the scores of 2 and of 40 classes in another order than scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from boatexport.convert import describe
from boatexport.graph.graphs import add_output
from boatexport.options import FuseOptions
from boatinfer import images
from boatinfer.errors import ModelError, UsageError
from boatinfer.models.built_in import BUILT_IN
from boatinfer.models.card import FusedSVM, Golden
from boatinfer.models.decision import Doubles, Linear, Pairwise, class_pairs
from boatinfer.models.inference import Floats
from boatinfer.models.model import Model, load, read_model
from boatinfer.models.session import open_session
from boatinfer.models.svm import SVM
from boatinfer.models.svm import load as load_svm
from boatinfer.storage.files import atomic_write, require_writable

__all__ = ["Fused", "fuse"]

#: Name of the output.
SCORES = "svm_scores"
_PREFIX = "boatinfer/svm/"

#: The oldest opset whose operators broadcast.
_OLDEST_OPSET = 7

#: Random feature vectors that the SVM is compared on, the share of equal labels that is needed,
#: and the largest difference of a score, as a share of the largest; scores are given as float32.
_VECTORS = 1000
_AGREEMENT = 0.995
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Fused:
    """An ONNX file with an SVM inside.

    Attributes:
        path: the file.
        classes: of the SVM.
        vectors: how many feature vectors it was compared with scikit-learn on.
        agreeing: for how many the label was the same.
        difference: the largest difference of a score.
    """

    path: Path
    classes: list[str]
    vectors: int
    agreeing: int
    difference: float


def fuse(options: FuseOptions) -> Fused:
    """Writes a model file that gives the SVM's scores as a third output.

    Args:
        options: the SVM, its model, and the file to write.

    Returns:
        What was written, and how well it agrees with scikit-learn.

    Raises:
        ModelError: a file cannot be used, or the SVM is not of this model.
        UsageError: the model has an SVM already, or the output may not be written.
        OutputError: the file could not be written.
    """
    source, output = options.model or BUILT_IN, options.output
    if output.suffix != ".onnx":
        raise UsageError(f"{output}: the file to write must end in .onnx.")
    content = read_model(source)
    require_writable(output, source, options.svm, force=options.force)
    model = load(content, source, "cpu")
    if model.card.svm is not None:
        raise UsageError(f"{source} has an SVM inside already; give the model without it.")
    svm = load_svm(options.svm)
    features = model.card.features
    svm.check(model.digest, None if features is None else features.dimension, options.svm)
    graph = _fused(onnx.load_model_from_string(content), model, svm)
    outputs = msgspec.structs.replace(model.card.outputs, svm=SCORES)
    described = FusedSVM(svm.classes, svm.function.kernel, model.digest)
    name = options.name or f"{model.card.name}-svm"
    card = msgspec.structs.replace(model.card, name=name, outputs=outputs, svm=described)
    agreement = _compare(svm)
    with atomic_write(output) as temporary:
        temporary.write_bytes(describe(graph, card, _golden(model, svm)))
        load(temporary.read_bytes(), output, "cpu")
    return Fused(output, svm.classes, _VECTORS, *agreement)


def _fused(graph: onnx.ModelProto, model: Model, svm: SVM) -> onnx.ModelProto:
    names = {name for node in graph.graph.node for name in node.output}
    opset = max(o.version for o in graph.opset_import if o.domain in {"", "ai.onnx"})
    if SCORES in names or any(name.startswith(_PREFIX) for name in names):
        raise ModelError(f"{model.path} has a tensor {SCORES} already; use the original file.")
    if opset < _OLDEST_OPSET:
        raise ModelError(
            f"{model.path} is of opset {opset}, and an SVM needs {_OLDEST_OPSET}; export the "
            "model with a newer one."
        )
    nodes, weights = _svm_graph(svm, str(model.card.outputs.features))
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(weights)
    add_output(graph, SCORES, model.path)
    return graph


def _golden(model: Model, svm: SVM) -> Golden:
    """The model's golden images, with the scores that a night gives."""
    tests = model.golden.images
    pixels = np.stack([images.read(test.image, model.card.image) for test in tests])
    features = model.infer(pixels).features
    assert features is not None  # or the SVM would not be of this model
    scores = svm.scores(features).tolist()
    return Golden(
        images=[
            msgspec.structs.replace(test, svm=row) for test, row in zip(tests, scores, strict=True)
        ]
    )


def _compare(svm: SVM) -> tuple[int, float]:
    """Compares the graph with a night's SVM on random feature vectors near the support vectors.

    Returns:
        How many labels are equal, and the largest difference of a score.
    """
    features = _random_features(svm)
    expected, found = svm.scores(features), _alone(svm, features)
    difference = float(np.abs(found - expected).max())
    agreeing = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    tolerance = _TOLERANCE * np.abs(expected).max(initial=1)
    if agreeing < _AGREEMENT * _VECTORS or not difference <= tolerance:
        raise ModelError(
            f"the graph of the SVM labels {agreeing:,} of {_VECTORS:,} feature vectors as "
            f"the SVM does, with scores off by up to {difference:.2g}, so no file was "
            "written; fit it again, and report it if it stays so."
        )
    return agreeing, difference


def _random_features(svm: SVM) -> Floats:
    random = np.random.default_rng(0)
    near = np.zeros((1, svm.dimension))
    if isinstance(svm.function, Pairwise):
        near = svm.function.vectors
    near = near[random.integers(len(near), size=_VECTORS)]
    scaled = near + random.normal(scale=0.5, size=near.shape)
    return np.asarray(scaled * svm.scale + svm.mean, np.float32)


def _alone(svm: SVM, features: Floats) -> Floats:
    """Scores, float32 [N, K], of the SVM's part of the graph by itself."""
    nodes, weights = _svm_graph(svm, "features")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "svm",
        [info("features", TensorProto.FLOAT, ["batch", svm.dimension])],
        [info(SCORES, TensorProto.FLOAT, ["batch", len(svm.classes)])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    session, _ = open_session(model.SerializeToString(), Path("svm"), "cpu")
    return np.asarray(session.run([SCORES], {"features": features})[0])


class _Graph:
    """Nodes and weights as they come about."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, value: npt.ArrayLike, dtype: Any = np.float64) -> str:
        name = f"{_PREFIX}weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def cast(self, tensor: str, kind: int, output: str = "") -> str:
        return self.node("Cast", tensor, to=kind, output=output)

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"{_PREFIX}{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name


def _svm_graph(svm: SVM, features: str) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """The SVM as nodes and weights, from the tensor of the features to `SCORES`."""
    graph = _Graph()
    rows = graph.node("Reshape", features, graph.weight([-1, svm.dimension], np.int64))
    for step, weight in [("Sub", svm.mean), ("Div", svm.scale)]:
        single = graph.cast(rows, TensorProto.FLOAT)  # as the scaler leaves float32 numbers
        rows = graph.node(step, graph.cast(single, TensorProto.DOUBLE), graph.weight(weight))
    scaled = graph.cast(graph.cast(rows, TensorProto.FLOAT), TensorProto.DOUBLE)
    if isinstance(svm.function, Pairwise):
        decisions = _decisions(graph, svm.function, _kernel(graph, svm.function, scaled))
        scores = _scores(graph, len(svm.classes), decisions)
    else:
        scores = _linear(graph, svm.function, scaled)
    if svm.sigmoids is not None:
        scores = _probabilities(graph, svm.sigmoids, scores)
    graph.cast(scores, TensorProto.FLOAT, SCORES)
    return graph.nodes, graph.weights


def _linear(graph: _Graph, linear: Linear, rows: str) -> str:
    """Scores [N, K] of a linear SVM with weights of its own for each class."""
    products = graph.node("MatMul", rows, graph.weight(linear.weights.T))
    return graph.node("Add", products, graph.weight(linear.offsets))


def _probabilities(graph: _Graph, sigmoids: Doubles, scores: str) -> str:
    """Probabilities [N, K] of scores [N, K]: sigmoids over their sum."""
    slopes, offsets = sigmoids
    steep = graph.node("Mul", scores, graph.weight(-slopes))
    single = graph.node("Sigmoid", graph.node("Add", steep, graph.weight(-offsets)))
    total = graph.node("MatMul", single, graph.weight(np.ones((len(slopes), 1))))
    return graph.node("Div", single, total)


def _kernel(graph: _Graph, svc: Pairwise, rows: str) -> str:
    """k(x, v) [N, S] of rows [N, D]: the dot product, or exp(-gamma |x - v|^2)."""
    vectors = svc.vectors  # scaled features, so float32 holds them
    single = graph.weight(vectors.T, np.float32)
    products = graph.node("MatMul", rows, graph.cast(single, TensorProto.DOUBLE))
    if svc.gamma is None:
        return products
    ones = graph.weight(np.ones((vectors.shape[1], 1)))
    squares = graph.node("MatMul", graph.node("Mul", rows, rows), ones)
    both = graph.node("Add", squares, graph.weight((vectors**2).sum(axis=1)))
    distances = graph.node("Sub", both, graph.node("Mul", products, graph.weight(2)))
    return graph.node("Exp", graph.node("Mul", distances, graph.weight(-svc.gamma)))


def _decisions(graph: _Graph, svc: Pairwise, kernel: str) -> str:
    """The decisions [N, K (K - 1) / 2] between each two classes; positive is for the first."""
    ends = np.cumsum(svc.counts)
    count = len(ends)
    sums = []
    for start, end in zip(ends - svc.counts, ends, strict=True):
        own = graph.node("Gather", kernel, graph.weight(range(start, end), np.int64), axis=1)
        sums.append(graph.node("MatMul", own, graph.weight(svc.coefficients[:, start:end].T)))
    joined = graph.node("Concat", *sums, axis=1)
    i, j = class_pairs(count)
    first = graph.node("Gather", joined, graph.weight(i * (count - 1) + j - 1, np.int64), axis=1)
    second = graph.node("Gather", joined, graph.weight(j * (count - 1) + i, np.int64), axis=1)
    both = graph.node("Add", first, second)
    return graph.node("Add", both, graph.weight(svc.intercepts))


def _scores(graph: _Graph, count: int, decisions: str) -> str:
    """The scores [N, K] of the classes, from their decisions."""
    firsts, seconds = class_pairs(count)
    signs = np.eye(count)[firsts] - np.eye(count)[seconds]
    signed = graph.weight(signs)
    sums = graph.node("MatMul", decisions, signed)
    if count == 2:
        return sums
    lost = graph.cast(graph.node("Less", decisions, graph.weight(0)), TensorProto.DOUBLE)
    moved = graph.node("MatMul", lost, signed)
    votes = graph.node("Sub", graph.weight(range(count - 1, -1, -1)), moved)
    larger = graph.node("Add", graph.node("Abs", sums), graph.weight(1))
    confidence = graph.node("Div", sums, graph.node("Mul", larger, graph.weight(3)))
    return graph.node("Add", votes, confidence)
