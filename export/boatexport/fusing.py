"""Embeds an SVM in the graph whose features it was fitted on.

The SVM becomes a few standard operators, so the file needs neither scikit-learn nor a pickle. With
features x, support vectors v, the kernel k and, for each pair of classes i < j, coefficients a
and intercept b, libsvm decides for i if ``sum(a k(x, v)) + b`` is not negative (Chang and Lin,
"LIBSVM: A Library for Support Vector Machines", 2011, sections 2.1 and 7). The scores of
scikit-learn are the votes, with the sum s of the decisions added as ``s / (3 (|s| + 1))`` to
break ties (documentation of ``SVC.decision_function``, shape ``ovr``); of two classes the scores
are the decision and its negative. A `Linear` SVM has one weight per class and feature. Calibrated
scores pass through sigmoids. All is computed in float64, as in scikit-learn and in
`boatinfer.models.decision`.

skl2onnx would generate such a graph too, with ai.onnx.ml operators in float32. But its number of
nodes grows with the square of the classes (646 for 16 classes, 3,994 for 40, which take seconds to
load; here 66 and 114), and version 1.20 had the scores of 2 and of 40 classes in another order than
scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from boatexport.convert import embed_card
from boatexport.graph.builder import GraphBuilder
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

__all__ = ["FusionResult", "fuse"]

#: Name of the output.
SCORES = "svm_scores"
_PREFIX = "boatinfer/svm/"

#: The oldest opset whose operators broadcast.
_MIN_OPSET = 7

#: Number of random feature vectors for the comparison, smallest fraction of equal labels, and
#: largest difference of a score, relative to the largest; scores are output as float32.
_TEST_VECTORS = 1000
_MIN_AGREEMENT = 0.995
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class FusionResult:
    """An ONNX file with an embedded SVM.

    Attributes:
        path: the file.
        classes: classes of the SVM.
        vectors: number of feature vectors in the comparison with scikit-learn.
        agreeing: number of those with the same label.
        difference: largest difference of a score.
    """

    path: Path
    classes: list[str]
    vectors: int
    agreeing: int
    difference: float


def fuse(options: FuseOptions) -> FusionResult:
    """Writes a model file with the scores of the SVM as a third output.

    Args:
        options: the SVM, its model, and the output file.

    Returns:
        The file written, and its agreement with scikit-learn.

    Raises:
        ModelError: a file cannot be used, or the SVM was fitted on another model.
        UsageError: the model has an SVM already, or the output file exists.
        OutputError: the file could not be written.
    """
    source, output = options.model or BUILT_IN, options.output
    if output.suffix != ".onnx":
        raise UsageError(f"{output}: the output file must end in .onnx.")
    content = read_model(source)
    require_writable(output, source, options.svm, force=options.force)
    model = load(content, source, "cpu")
    if model.card.svm is not None:
        raise UsageError(f"{source} includes an SVM already; give the model without it.")
    svm = load_svm(options.svm)
    features = model.card.features
    svm.check(model.digest, None if features is None else features.dimension, options.svm)
    graph = _add_svm_nodes(onnx.load_model_from_string(content), model, svm)
    outputs = msgspec.structs.replace(model.card.outputs, svm=SCORES)
    svm_info = FusedSVM(svm.classes, svm.function.kernel, model.digest)
    name = options.name or f"{model.card.name}-svm"
    card = msgspec.structs.replace(
        model.card, name=name, outputs=outputs, svm=svm_info, network=None
    )
    agreement = _compare_with_sklearn(svm)
    with atomic_write(output) as temporary:
        temporary.write_bytes(embed_card(graph, card, _golden_with_scores(model, svm)))
        load(temporary.read_bytes(), output, "cpu")
    return FusionResult(output, svm.classes, _TEST_VECTORS, *agreement)


def _add_svm_nodes(graph: onnx.ModelProto, model: Model, svm: SVM) -> onnx.ModelProto:
    names = {name for node in graph.graph.node for name in node.output}
    opset = max(o.version for o in graph.opset_import if o.domain in {"", "ai.onnx"})
    if SCORES in names or any(name.startswith(_PREFIX) for name in names):
        raise ModelError(f"{model.path} has a tensor {SCORES} already; use the original file.")
    if opset < _MIN_OPSET:
        raise ModelError(
            f"{model.path} has opset {opset}, but an SVM needs at least {_MIN_OPSET}; export "
            "the model with a newer opset."
        )
    nodes, weights = _svm_graph(svm, str(model.card.outputs.features))
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(weights)
    add_output(graph, SCORES, model.path)
    return graph


def _golden_with_scores(model: Model, svm: SVM) -> Golden:
    """Returns the golden images of the model, with the scores of the SVM."""
    tests = model.golden.images
    pixels = np.stack([images.read(test.image, model.card.image) for test in tests])
    features = model.infer(pixels).features
    assert features is not None  # checked above by svm.check
    scores = svm.scores(features).tolist()
    return Golden(
        images=[
            msgspec.structs.replace(test, svm=row) for test, row in zip(tests, scores, strict=True)
        ]
    )


def _compare_with_sklearn(svm: SVM) -> tuple[int, float]:
    """Compares the graph with the SVM on random feature vectors near the support vectors.

    Returns:
        Number of equal labels, and largest difference of a score.
    """
    features = _random_features(svm)
    expected, actual = svm.scores(features), _run_svm_graph(svm, features)
    difference = float(np.abs(actual - expected).max())
    agreeing = int((actual.argmax(axis=1) == expected.argmax(axis=1)).sum())
    tolerance = _TOLERANCE * np.abs(expected).max(initial=1)
    if agreeing < _MIN_AGREEMENT * _TEST_VECTORS or not difference <= tolerance:
        raise ModelError(
            f"the graph of the SVM labels {agreeing:,} of {_TEST_VECTORS:,} feature vectors like "
            f"the SVM, with scores that differ by up to {difference:.2g}, so no file was "
            "written; fit the SVM again, and report it if that does not help."
        )
    return agreeing, difference


def _random_features(svm: SVM) -> Floats:
    random = np.random.default_rng(0)
    centres = np.zeros((1, svm.dimension))
    if isinstance(svm.function, Pairwise):
        centres = svm.function.vectors
    centres = centres[random.integers(len(centres), size=_TEST_VECTORS)]
    scaled = centres + random.normal(scale=0.5, size=centres.shape)
    return np.asarray(scaled * svm.scale + svm.mean, np.float32)


def _run_svm_graph(svm: SVM, features: Floats) -> Floats:
    """Runs the graph of the SVM alone, and returns scores, float32 [N, K]."""
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


def _svm_graph(svm: SVM, features: str) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Returns the SVM as nodes and weights, from the feature tensor to `SCORES`."""
    graph = GraphBuilder(_PREFIX)
    rows = graph.node("Reshape", features, graph.weight([-1, svm.dimension], np.int64))
    for step, weight in [("Sub", svm.mean), ("Div", svm.scale)]:
        float_rows = graph.cast(
            rows, TensorProto.FLOAT
        )  # as the scaler of scikit-learn keeps float32
        rows = graph.node(step, graph.cast(float_rows, TensorProto.DOUBLE), graph.weight(weight))
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


def _linear(graph: GraphBuilder, linear: Linear, rows: str) -> str:
    """Adds the scores [N, K] of a linear SVM."""
    products = graph.node("MatMul", rows, graph.weight(linear.weights.T))
    return graph.node("Add", products, graph.weight(linear.offsets))


def _probabilities(graph: GraphBuilder, sigmoids: Doubles, scores: str) -> str:
    """Adds the probabilities [N, K] of scores [N, K]: normalised sigmoids."""
    slopes, offsets = sigmoids
    scaled_scores = graph.node("Mul", scores, graph.weight(-slopes))
    activations = graph.node("Sigmoid", graph.node("Add", scaled_scores, graph.weight(-offsets)))
    total = graph.node("MatMul", activations, graph.weight(np.ones((len(slopes), 1))))
    return graph.node("Div", activations, total)


def _kernel(graph: GraphBuilder, svc: Pairwise, rows: str) -> str:
    """Adds the kernel k(x, v) [N, S] of rows [N, D]: dot product, or exp(-gamma |x - v|^2)."""
    vectors = svc.vectors  # scaled features, so float32 is exact
    float_vectors = graph.weight(vectors.T, np.float32)
    products = graph.node("MatMul", rows, graph.cast(float_vectors, TensorProto.DOUBLE))
    if svc.gamma is None:
        return products
    ones = graph.weight(np.ones((vectors.shape[1], 1)))
    squares = graph.node("MatMul", graph.node("Mul", rows, rows), ones)
    square_sums = graph.node("Add", squares, graph.weight((vectors**2).sum(axis=1)))
    distances = graph.node("Sub", square_sums, graph.node("Mul", products, graph.weight(2)))
    return graph.node("Exp", graph.node("Mul", distances, graph.weight(-svc.gamma)))


def _decisions(graph: GraphBuilder, svc: Pairwise, kernel: str) -> str:
    """Adds the decisions [N, K (K - 1) / 2] of class pairs; positive for the first class."""
    class_ends = np.cumsum(svc.counts)
    count = len(class_ends)
    sums = []
    for start, end in zip(class_ends - svc.counts, class_ends, strict=True):
        kernel_rows = graph.node(
            "Gather", kernel, graph.weight(range(start, end), np.int64), axis=1
        )
        sums.append(
            graph.node("MatMul", kernel_rows, graph.weight(svc.coefficients[:, start:end].T))
        )
    concatenated = graph.node("Concat", *sums, axis=1)
    i, j = class_pairs(count)
    first = graph.node(
        "Gather", concatenated, graph.weight(i * (count - 1) + j - 1, np.int64), axis=1
    )
    second = graph.node("Gather", concatenated, graph.weight(j * (count - 1) + i, np.int64), axis=1)
    combined = graph.node("Add", first, second)
    return graph.node("Add", combined, graph.weight(svc.intercepts))


def _scores(graph: GraphBuilder, count: int, decisions: str) -> str:
    """Adds the scores [N, K] of the classes, from the decisions."""
    first_classes, second_classes = class_pairs(count)
    signs = np.eye(count)[first_classes] - np.eye(count)[second_classes]
    sign_weights = graph.weight(signs)
    sums = graph.node("MatMul", decisions, sign_weights)
    if count == 2:
        return sums
    is_negative = graph.cast(graph.node("Less", decisions, graph.weight(0)), TensorProto.DOUBLE)
    lost_votes = graph.node("MatMul", is_negative, sign_weights)
    votes = graph.node("Sub", graph.weight(range(count - 1, -1, -1)), lost_votes)
    scaled_sums = graph.node("Add", graph.node("Abs", sums), graph.weight(1))
    confidence = graph.node("Div", sums, graph.node("Mul", scaled_sums, graph.weight(3)))
    return graph.node("Add", votes, confidence)
