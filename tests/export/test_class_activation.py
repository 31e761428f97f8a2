from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import colours
import networks
from boatexport import comparison, plan, precision
from boatexport.adding import add_outputs
from boatexport.convert import embed_card
from boatexport.graph.class_activation import CLASS_ACTIVATION, add_class_activation
from boatexport.options import KnowOptions, QuantizeOptions
from boatinfer import images
from boatinfer.errors import ModelError, UsageError
from boatinfer.models.built_in import BUILT_IN
from boatinfer.models.inference import REQUEST
from boatinfer.models.model import open_model
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from support import Trained

PIXELS = np.random.default_rng(3).integers(0, 256, (5, *networks.SIZE, 3), dtype=np.uint8)


@pytest.fixture
def known(network: Path, tmp_path: Path) -> Path:
    """The network of convolutions, with the output added."""
    return add_outputs(KnowOptions(network, tmp_path / "known.onnx")).path


def _pixels() -> Any:
    pictures = [colours.picture(name, seed=5) for name in colours.CLASSES]
    return np.stack([images.read(picture, colours.SPEC) for picture in pictures])


def _computed(graph: onnx.ModelProto, feeds: dict[str, Any], *names: str) -> list[Any]:
    for name in names:
        if name not in {output.name for output in graph.graph.output}:
            graph.graph.output.append(onnx.ValueInfoProto(name=name))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    return list(session.run(list(names), feeds))


def test_the_map_sums_up_to_the_score_of_the_predicted_class(known: Path) -> None:
    pixels, model = _pixels(), open_model(known)
    maps = model.class_activations(pixels)
    logits, third = _computed(onnx.load(known), {"image": pixels}, "logits", "third")
    assert maps is not None
    assert maps.shape == (3, *third.shape[2:])
    # The mean of the map is the score, as the score is linear in the mean of the features.
    assert maps.mean(axis=(1, 2)) == pytest.approx(logits.max(axis=1), rel=1e-4)


def test_the_other_outputs_and_the_digest_stay(known: Path, network: Path) -> None:
    pixels, before, after = _pixels(), open_model(network), open_model(known)
    for old, new in zip(before.infer(pixels), after.infer(pixels), strict=True):
        assert (old is None) == (new is None)
        assert old is None or new is None or np.array_equal(old, new)
    assert after.digest == before.digest
    assert known.read_bytes() != network.read_bytes()
    again = add_outputs(KnowOptions(network, known.with_name("again.onnx"))).path
    assert again.read_bytes() == known.read_bytes()


def test_results_of_the_network_without_the_output_are_reused(
    known: Path, network: Path, tmp_path: Path
) -> None:
    colours.write_pictures(tmp_path / "pictures", each=2)
    for model, expected in ((network, (6, 0)), (known, (0, 6))):
        done = run(RunOptions(tmp_path / "pictures", tmp_path / "out", model))
        assert (done.classified, done.reused) == expected


def test_nothing_is_computed_unless_it_is_asked_for(known: Path) -> None:
    session = open_model(known).session
    (not_asked_for,) = session.run([CLASS_ACTIVATION], {"image": _pixels()})
    assert not_asked_for.size == 0
    (asked_for,) = session.run([CLASS_ACTIVATION], {"image": _pixels(), REQUEST: np.array(True)})
    assert len(asked_for) == 3


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_a_converted_model_has_the_map_too(
    kind: Any, known: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_TIMING_SECONDS", 0)
    monkeypatch.setattr(plan, "CALIBRATION_IMAGES", 12)
    options = QuantizeOptions(known, calibrate=pictures, labelled=pictures, precision=kind)
    if kind == "float16":
        options = QuantizeOptions(known, labelled=pictures, precision=kind)
    precision.quantize(options, lambda _: None, lambda _: None)
    converted, original = open_model(options.onnx_file), open_model(known)
    assert converted.digest != original.digest
    theirs, ours = (model.class_activations(_pixels()) for model in (converted, original))
    assert theirs is not None and ours is not None
    assert np.abs(theirs - ours).max() < 0.1 * np.abs(ours).max()


def test_the_map_of_a_flattened_network_is_gradient_times_features() -> None:
    random = np.random.default_rng(0)
    arrays = {
        "kernel": random.normal(size=(6, 3, 4, 4)),
        "first": random.normal(size=(5 * 9 * 6, 8)),
        "bias": random.normal(size=8),
        "last": random.normal(size=(8, 4)),
        "shape": np.array([0, -1]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"], strides=[4, 4]),
        helper.make_node("Transpose", ["conv"], ["nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["nhwc", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "first"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "last"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    floats = {n: a if a.dtype == np.int64 else a.astype(np.float32) for n, a in arrays.items()}
    tensor = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "flat",
        [tensor("image", TensorProto.FLOAT, ["N", 3, *networks.SIZE])],
        [tensor("probabilities", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(array, name) for name, array in floats.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    assert add_class_activation(model, "probabilities", 4)
    feeds = {"image": np.float32(PIXELS.transpose(0, 3, 1, 2) / 255), REQUEST: np.array(True)}
    names = (CLASS_ACTIVATION, "nhwc", "hidden", "logits")
    maps, nhwc, hidden, logits = _computed(model, feeds, *names)
    gradient = ((hidden > 0) * arrays["last"][:, logits.argmax(axis=1)].T) @ arrays["first"].T
    expected = (gradient.reshape(nhwc.shape) * nhwc).sum(axis=3)
    assert maps == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("layout", [networks.torch_layout, networks.tf_layout])
def test_networks_made_elsewhere_have_a_map(layout: Any) -> None:
    model = layout()
    (given,), (scores,) = model.graph.input, model.graph.output
    assert add_class_activation(model, scores.name, 4)
    nchw = given.name == "input"
    pixels = PIXELS.transpose(0, 3, 1, 2) if nchw else PIXELS
    feeds = {given.name: pixels.astype(np.float32), REQUEST: np.array(True)}
    maps, logits = _computed(model, feeds, CLASS_ACTIVATION, "logits")
    bias = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == "bias"))
    predicted = logits.argmax(axis=1)
    expected = logits[np.arange(5), predicted] - bias[predicted]
    assert maps.mean(axis=(1, 2)) == pytest.approx(expected, rel=1e-4)


def test_a_network_without_a_feature_map_gets_none(tmp_path: Path) -> None:
    model = colours.write_model(tmp_path / "colours.onnx")
    with pytest.raises(UsageError, match="no further outputs to add"):
        add_outputs(KnowOptions(model, tmp_path / "known.onnx"))
    assert not (tmp_path / "known.onnx").exists()


def test_a_card_that_promises_a_map_that_is_not_there(known: Path, network: Path) -> None:
    card = open_model(known).card
    network.write_bytes(embed_card(onnx.load(network), card, open_model(known).golden))
    with pytest.raises(ModelError, match=CLASS_ACTIVATION):
        open_model(network)


def test_the_small_network_is_exported_with_a_map(exported: Path, trained: Trained) -> None:
    model = open_model(exported)
    pixels = np.zeros((2, model.card.image.height, model.card.image.width, 3), np.uint8)
    maps = model.class_activations(pixels)
    assert maps is not None
    assert maps.ndim == 3
    assert maps.shape[0] == 2


def test_the_map_of_the_built_in_model_sums_up_to_its_scores() -> None:
    model = open_model(BUILT_IN, "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 120, 400, 3), dtype=np.uint8)
    maps = model.class_activations(pixels)
    assert maps is not None
    graph = onnx.load(BUILT_IN)
    softmax = next(node for node in graph.graph.node if "probabilities" in node.output)
    logits = softmax.input[0]
    (scores,) = _computed(graph, {"image": pixels}, logits)
    node = next(node for node in graph.graph.node if logits in node.output)
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    bias = next(arrays[name] for name in node.input if name in arrays)
    predicted = scores.argmax(axis=1)
    expected = scores[np.arange(4), predicted] - bias[predicted]
    assert maps.sum(axis=(1, 2)) == pytest.approx(expected, rel=1e-4, abs=1e-4)
