"""Inputs, outputs and weights of the kinds that other tools write."""

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
from boatexport.foreign.describing import DescribeResult, describe_model
from boatexport.foreign.scores import NO_CLASS
from boatexport.options import DescribeOptions
from boatinfer import images
from boatinfer.errors import BoatinferError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.model import Model, open_model
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.svm.fit import fit
from boatinfer.svm.options import FitOptions
from support import rows

NAMES = ",".join(networks.CLASSES)
SPEC = ImageSpec(20, 36, "bilinear", "crop", decode="full")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    colours.write_pictures(tmp_path / "pictures", each=2)
    return tmp_path / "pictures"


def described(graph: onnx.ModelProto, pictures: Path, **options: Any) -> DescribeResult:
    path = networks.save(graph, pictures.parent / "net.onnx")
    return describe_file(path, pictures, **options)


def describe_file(path: Path, pictures: Path, **options: Any) -> DescribeResult:
    options = dict[str, Any]({"classes": NAMES, "scale": "1/255", "force": True} | options)
    if options["scale"] is None:
        del options["scale"]
    return describe_model(
        DescribeOptions(path, path.with_suffix(".described.onnx"), pictures, **options)
    )


def scores(graph: onnx.ModelProto, model: Model, pictures: Path) -> np.ndarray[Any, Any]:
    """The scores of an unchanged graph for the same pixels."""
    pixels = read(model, pictures)
    fed = (pixels / np.float32(255)).astype(np.float32).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    return np.asarray(session.run(None, {session.get_inputs()[0].name: fed})[0])


def read(model: Model, pictures: Path) -> np.ndarray[Any, Any]:
    paths = sorted(pictures.rglob("*.jpg"))
    return np.stack([images.read(path.read_bytes(), model.card.image) for path in paths])


def probabilities(model: Model, pictures: Path) -> np.ndarray[Any, Any]:
    return model.infer(read(model, pictures)).probabilities


def extended(*nodes: tuple[str, list[str], dict[str, Any]], **constants: Any) -> onnx.ModelProto:
    """The network of `networks.torch_layout` with nodes behind its logits, one after the other."""
    model = networks.torch_layout()
    name = "logits"
    for number, (kind, inputs, options) in enumerate(nodes):
        model.graph.node.append(
            helper.make_node(kind, [name, *inputs], [f"end{number}"], **options)
        )
        name = f"end{number}"
    for constant, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), constant))
    kind = model.graph.output[0].type.tensor_type.elem_type
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return model


@pytest.mark.parametrize(
    "graph",
    [
        extended(("Reshape", ["shape"], {}), shape=np.array([-1, 4, 1, 1])),
        extended(("Reshape", ["shape"], {}), shape=np.array([-1, 1, 4])),
        extended(("LogSoftmax", [], {"axis": 1})),
        extended(("Cast", [], {"to": TensorProto.DOUBLE})),
        extended(("Softmax", [], {"axis": 1}), ("Cast", [], {"to": TensorProto.FLOAT16})),
    ],
    ids=["N x C x 1 x 1", "N x 1 x C", "log-softmax", "double", "half"],
)
def test_outputs_of_other_kinds(graph: onnx.ModelProto, pictures: Path) -> None:
    for output in graph.graph.output:
        for end in graph.graph.node:
            if end.op_type == "Cast" and end.output[0] == output.name:
                output.type.tensor_type.elem_type = end.attribute[0].i
    model = open_model(described(graph, pictures).path)
    wanted = networks.softmax(scores(networks.torch_layout(), model, pictures))
    assert np.abs(probabilities(model, pictures) - wanted).max() < 1e-3


@pytest.mark.parametrize("ends", [["Sigmoid"], ["Sigmoid", "Identity"], []])
@pytest.mark.parametrize("names", ["boat", "no boat,boat"])
def test_one_score_is_of_two_classes(pictures: Path, ends: list[str], names: str) -> None:
    column: tuple[str, list[str], dict[str, Any]] = ("Gemm", ["one"], {})
    graph = extended(
        column, *((e, [], {}) for e in ends), one=np.array([[1], [2], [-1], [0.5]], np.float32)
    )
    (pictures.parent / "names.txt").write_text(names.replace(",", "\n"))
    done = described(graph, pictures, classes=str(pictures.parent / "names.txt"))
    model = open_model(done.path)
    found = probabilities(model, pictures)
    second = scores(graph, model, pictures).reshape(-1)
    second = second if ends else 1 / (1 + np.exp(-second))
    assert np.abs(found - np.stack([1 - second, second], axis=1)).max() < 1e-5
    assert model.card.classes == ["not boat" if names == "boat" else "no boat", "boat"]


def _cast_input(kind: int) -> onnx.ModelProto:
    model = networks.torch_layout()
    model.graph.node.insert(0, helper.make_node("Cast", ["odd"], ["input"], to=TensorProto.FLOAT))
    model.graph.input[0].name = "odd"
    model.graph.input[0].type.tensor_type.elem_type = kind
    return model


def _bfloat16() -> onnx.ModelProto:
    model = networks.torch_layout()
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            bits = numpy_helper.to_array(tensor).view(np.uint32) >> 16
            short = bits.astype(np.uint16).tobytes()
            tensor.raw_data, tensor.data_type = short, TensorProto.BFLOAT16
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    return model


def test_double_and_bfloat16_are_given_floats(pictures: Path) -> None:
    for graph, allowed in ((_cast_input(TensorProto.DOUBLE), 1e-5), (_bfloat16(), 0.05)):
        model = open_model(described(graph, pictures).path)
        assert model.card.input.dtype == "float32"
        wanted = networks.softmax(scores(networks.torch_layout(), model, pictures))
        assert np.abs(probabilities(model, pictures) - wanted).max() < allowed


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64, TensorProto.UINT16])
def test_integers_are_given_bytes(pictures: Path, kind: int) -> None:
    model = open_model(described(_cast_input(kind), pictures, scale=None).path)
    assert model.card.input.dtype == "uint8"
    plain = networks.torch_layout()
    fed = read(model, pictures).transpose(0, 3, 1, 2).astype(np.float32)
    session = onnxruntime.InferenceSession(plain.SerializeToString())
    wanted = networks.softmax(session.run(None, {"input": fed})[0])
    assert np.abs(probabilities(model, pictures) - wanted).max() < 1e-5


def test_the_scores_are_found_among_several_outputs(pictures: Path) -> None:
    graph = networks.torch_layout()
    for name in ("pool", "flat"):
        graph.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    assert open_model(described(graph, pictures).path).card.outputs.logits == "logits"


def test_weights_beside_the_model_come_inside(pictures: Path) -> None:
    folder = pictures.parent
    path = folder / "net.onnx"
    options: dict[str, Any] = {
        "save_as_external_data": True,
        "location": "net.onnx.data",
        "size_threshold": 0,
    }
    onnx.save(networks.torch_layout(), path, **options)
    whole = described(networks.torch_layout(), pictures)
    content = whole.path.read_bytes()
    onnx.save(networks.torch_layout(), path, **options)
    assert describe_file(path, pictures).path.read_bytes() == content
    (folder / "net.onnx.data").write_bytes(b"short")
    with pytest.raises(BoatinferError, match="too short"):
        describe_file(path, pictures)


@pytest.mark.parametrize("location", ["../outside", "/etc/hostname", "link", "", "\0"])
def test_weights_elsewhere_are_never_read(pictures: Path, location: str) -> None:
    folder = pictures.parent / "model"
    folder.mkdir()
    (folder.parent / "outside").write_bytes(bytes(10_000))
    (folder / "link").symlink_to(folder.parent / "outside")
    graph = networks.torch_layout()
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "net.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(BoatinferError, match=r"outside its folder|cannot be read"):
        describe_file(folder / "net.onnx", pictures)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("softmax", [True, False])
def test_five_crops_are_averaged(pictures: Path, layout: str, softmax: bool) -> None:
    graph = networks.tf_layout() if layout == "NHWC" else networks.torch_layout()
    if layout == "NCHW" and softmax:
        graph = networks.torch_layout(ends=("Softmax",))
    if layout == "NHWC" and not softmax:
        del graph.graph.node[-1]
        del graph.graph.output[:]
        graph.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, None))
    features = "flat" if layout == "NCHW" else "model/pool/Mean:0"
    scale = "1" if layout == "NHWC" else "1/255"
    options: dict[str, Any] = {"scale": scale, "resize_to": "30x50", "features": features}
    once = open_model(described(graph, pictures, **options).path)
    five = open_model(described(graph, pictures, crops=5, **options).path)
    assert five.card.image.shape == (100, 36, 3)
    pixels = read(five, pictures)
    parts = [once.infer(pixels[:, 20 * i : 20 * (i + 1)]) for i in range(5)]
    found = five.infer(pixels)
    assert found.features is not None
    wanted = np.mean([part.probabilities for part in parts], axis=0)
    assert np.abs(found.probabilities - wanted).max() < 1e-5
    assert (
        np.abs(found.features - np.mean([np.asarray(p.features) for p in parts], axis=0)).max()
        < 1e-4
    )
    summary = run(RunOptions(pictures, pictures.parent / "out", five.path))
    assert summary.classified == 6


def test_five_crops_need_a_free_batch(pictures: Path) -> None:
    with pytest.raises(BoatinferError, match="free batch axis"):
        described(networks.torch_layout(batch=1), pictures, crops=5, resize_to="30x50")


def test_a_model_without_classes_serves_for_an_svm(pictures: Path) -> None:
    folder = pictures.parent
    done = described(networks.torch_layout(), pictures, classes=None, embedding=True)
    card = open_model(done.path).card
    assert (card.classes, card.features and card.features.dimension) == ([NO_CLASS], 4)
    summary = run(RunOptions(pictures, folder / "out", done.path, features=True))
    assert summary.classified == 6
    assert {row["label"] for row in rows(folder / "out")} == {NO_CLASS}
    svm, _ = fit(FitOptions(folder / "out", folder / "svm.joblib"))
    assert svm.dimension == 4
    run(RunOptions(pictures, folder / "out", done.path, svm=folder / "svm.joblib"))
    assert {row["svm_label"] for row in rows(folder / "out")} == set(colours.CLASSES)


def test_describing_twice_gives_the_same_bytes(pictures: Path) -> None:
    first = described(networks.torch_layout(), pictures).path.read_bytes()
    assert described(networks.torch_layout(), pictures).path.read_bytes() == first


def test_the_newest_opset(pictures: Path) -> None:
    graph = networks.torch_layout()
    newest = onnx.defs.onnx_opset_version()
    while newest > 17:
        graph.opset_import[0].version = newest
        try:
            onnxruntime.InferenceSession(graph.SerializeToString())
            break
        except Exception:
            newest -= 1
    assert newest >= 21
    options: dict[str, Any] = {"crops": 5, "resize_to": "30x50"}
    assert open_model(described(graph, pictures, **options).path).card.image.crops == 5


def test_the_labels_are_those_of_the_files_themselves(pictures: Path) -> None:
    """The files are larger than the copies that are stored."""
    for path in pictures.rglob("*.jpg"):
        path.write_bytes(colours.picture(path.parent.name, size=(640, 320)))
    done = described(networks.torch_layout(), pictures, decode="scaled", resize="nearest")
    model = open_model(done.path)
    found = model.predict([pictures / path for path in done.golden])
    assert done.labels == found.labels.tolist()
    assert done.confidences == pytest.approx(found.probabilities.max(axis=1))
    stored = [golden.probabilities for golden in model.golden.images]
    assert done.stored_confidences == pytest.approx(np.max(stored, axis=1))
    decoding = model.card.decoding
    assert decoding is not None
    assert decoding.images == 6
    assert set(decoding.agreement) == {"double", "scaled"}
    assert decoding.difference["scaled"] > 0


def test_cropping_very_wide_pictures_is_warned_of(pictures: Path) -> None:
    for path in pictures.rglob("*.jpg"):
        path.write_bytes(colours.picture(path.parent.name, size=(300, 60)))
    done = described(networks.torch_layout(), pictures)
    assert [w for w in done.warnings if "cuts 64% off" in w]
    assert not described(networks.torch_layout(), pictures, fit="stretch").warnings
