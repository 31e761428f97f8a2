from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import boatinfer
import colours
from boatinfer import images
from boatinfer.errors import DeviceError, Failure, ImageError, ModelError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models import session
from boatinfer.models.card import (
    CARD_KEY,
    GOLDEN_KEY,
    Features,
    Golden,
    GoldenImage,
    InputSpec,
    Outputs,
    encode,
)
from boatinfer.models.model import open_model
from support import Command


def test_predictions_are_those_of_the_network(model_file: Path, pictures: Path) -> None:
    paths = [pictures / colour / "000.jpg" for colour in colours.CLASSES]
    predictions = open_model(model_file).predict(paths)
    pixels = [images.read(path.read_bytes(), colours.SPEC) for path in paths]
    assert predictions.labels.tolist() == colours.CLASSES
    assert np.allclose(predictions.probabilities, [colours.expected(p) for p in pixels], atol=1e-5)
    assert predictions.features is not None
    assert np.allclose(predictions.features, [p.mean(axis=(0, 1)) / 255 for p in pixels], atol=1e-5)


def test_paths_texts_and_arrays_are_the_same_to_it(model_file: Path, pictures: Path) -> None:
    model = open_model(model_file)
    path = pictures / "blue" / "001.jpg"
    pixels = images.read(path.read_bytes(), colours.SPEC)
    found = model.predict([path, str(path), pixels])
    assert (found.probabilities == found.probabilities[0]).all()
    assert (model.predict(np.stack([pixels] * 3)).probabilities == found.probabilities).all()


def test_more_pictures_than_a_batch_keep_their_order(model_file: Path) -> None:
    model = open_model(model_file)
    pixels = [np.full((5, 5, 3), 20, np.uint8) for _ in range(70)]
    for i, picture in enumerate(pixels):
        picture[..., i % 3] = 200
    assert model.predict(pixels).labels.tolist() == [colours.CLASSES[i % 3] for i in range(70)]


def test_pictures_that_cannot_be_read_are_named(model_file: Path, tmp_path: Path) -> None:
    model = open_model(model_file)
    (tmp_path / "text.jpg").write_text("hello")
    for name, reason in [("text.jpg", Failure.NOT_AN_IMAGE), ("none.jpg", Failure.VANISHED)]:
        with pytest.raises(ImageError, match=name) as raised:
            model.predict([tmp_path / name])
        assert raised.value.reason is reason
    with pytest.raises(ImageError, match="it is a folder") as raised:
        model.predict([tmp_path])
    assert raised.value.reason is Failure.UNREADABLE
    with pytest.raises(ImageError, match=r"float64 \[4, 4\]"):
        model.predict([np.zeros((4, 4))])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="at least one"):
        model.predict([])


def test_the_digest_is_the_files(model_file: Path) -> None:
    assert open_model(model_file).digest == hashlib.sha256(model_file.read_bytes()).hexdigest()


def test_a_missing_file_a_folder_and_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    onnx.save(colours.graph(), tmp_path / "bare.onnx")
    for name, said in [
        ("none.onnx", "No such file"),
        (".", "Is a directory"),
        ("text.onnx", "is no ONNX file"),
        ("bare.onnx", "has no model card"),
    ]:
        with pytest.raises(ModelError, match=said):
            open_model(tmp_path / name)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(model_file: Path, kept: float) -> None:
    whole = model_file.read_bytes()
    model_file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelError, match="is no ONNX file, or is cut off"):
        open_model(model_file)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda model: setattr(model, "ir_version", 99), "(Unsupported model IR version: 99"),
        (lambda model: setattr(model.opset_import[0], "version", 99), "Opset 99 is under"),
        (
            lambda model: setattr(model.graph.node[0], "op_type", "Sail"),
            "No Op registered for Sail",
        ),
    ],
)
def test_what_onnxruntime_says_is_told_without_its_codes_and_source_lines(
    model_file: Path, spoil: Any, said: str
) -> None:
    graph = onnx.load(model_file)
    spoil(graph)
    colours.save(graph, model_file)
    with pytest.raises(ModelError) as raised:
        open_model(model_file)
    assert said in str(raised.value)
    assert not re.search(r"ONNXRuntimeError|::|\.(cc|h):|\n", str(raised.value))


def test_the_self_test_catches_wrong_preprocessing(tmp_path: Path) -> None:
    turned = colours.card(input=InputSpec("image", order="BGR"))
    with pytest.raises(ModelError, match="failed its self-test"):
        open_model(colours.write_model(tmp_path / "bgr.onnx", card=turned))


def test_the_self_test_catches_other_weights(model_file: Path) -> None:
    graph = onnx.load(model_file)
    graph.graph.initializer[1].CopyFrom(helper.make_tensor("ten", TensorProto.FLOAT, [], [9.0]))
    colours.save(graph, model_file)
    with pytest.raises(ModelError, match="failed its self-test"):
        open_model(model_file)


def test_the_self_test_catches_results_that_are_no_numbers(model_file: Path) -> None:
    graph = onnx.load(model_file)
    nan = helper.make_tensor("ten", TensorProto.FLOAT, [], [float("nan")])
    graph.graph.initializer[1].CopyFrom(nan)
    colours.save(graph, model_file)
    with pytest.raises(ModelError, match="failed its self-test"):
        open_model(model_file)


def test_a_golden_image_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    broken = Golden(images=[GoldenImage(colours.picture("red")[:400], [1.0, 0.0, 0.0])])
    with pytest.raises(ModelError, match="golden image cannot be read"):
        open_model(colours.write_model(tmp_path / "m.onnx", golden=broken))


def test_a_card_that_does_not_fit_its_graph_is_refused(tmp_path: Path) -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"outputs": Outputs(probabilities="chances", features="features")}, "chances"),
        ({"input": InputSpec("picture")}, "picture"),
        ({"image": ImageSpec(height=13, width=40)}, "13"),
        ({"input": InputSpec("image", dtype="float32")}, "float32"),
        ({"input": InputSpec("image", layout="NCHW")}, r"3, 12, 40"),
    ]
    for change, said in changes:
        path = colours.write_model(tmp_path / "m.onnx", card=colours.card(**change))
        with pytest.raises(ModelError, match=said):
            open_model(path)


def test_a_graph_that_gives_something_else_than_its_card_says_is_refused(tmp_path: Path) -> None:
    golden = Golden(images=[GoldenImage(colours.picture("red"), [0.5, 0.5])])
    changes: list[tuple[dict[str, Any], Golden | None]] = [
        ({"classes": ["a", "b"]}, golden),
        ({"features": Features(dimension=99, layer="x")}, None),
    ]
    for change, test in changes:
        card = colours.card(**change)
        with pytest.raises(ModelError, match="its card promises"):
            open_model(colours.write_model(tmp_path / "m.onnx", card, test))


@pytest.mark.parametrize("size", [1, 4])
def test_a_graph_of_a_fixed_batch_size_gives_what_one_of_any_size_gives(
    model_file: Path, pictures: Path, tmp_path: Path, size: int
) -> None:
    model = onnx.load(model_file)
    for tensor in [*model.graph.input, *model.graph.output]:
        tensor.type.tensor_type.shape.dim[0].dim_value = size
    fixed = open_model(colours.save(model, tmp_path / "fixed.onnx"))
    any_size = open_model(model_file)
    paths = sorted(pictures.rglob("*.jpg"))
    for count in (1, 4, 9):
        found, wanted = fixed.predict(paths[:count]), any_size.predict(paths[:count])
        assert np.array_equal(found.probabilities, wanted.probabilities)
        assert found.features is not None
        assert wanted.features is not None
        assert np.array_equal(found.features, wanted.features)


def test_a_graph_without_a_batch_axis_works(
    model_file: Path, pictures: Path, tmp_path: Path
) -> None:
    model = onnx.load(model_file)
    for tensor in [*model.graph.input, *model.graph.output]:
        del tensor.type.tensor_type.shape.dim[0]
    model.graph.node[1].attribute[0].ints[:] = [0, 1]  # the axes of the average
    model.graph.node[4].attribute[0].i = 0  # and of the softmax
    single = open_model(colours.save(model, tmp_path / "single.onnx"))
    paths = sorted(pictures.rglob("*.jpg"))
    found, wanted = single.predict(paths), open_model(model_file).predict(paths)
    assert np.allclose(found.probabilities, wanted.probabilities, atol=1e-6)
    assert found.features is not None
    assert wanted.features is not None
    assert np.allclose(found.features, wanted.features, atol=1e-6)


def test_an_svm_inside_the_model_labels_and_is_tested(tmp_path: Path) -> None:
    model = open_model(colours.write_model_with_svm(tmp_path / "both.onnx"))
    pixels = np.full((2, 5, 5, 3), 200, np.uint8)
    pixels[0, ..., 1] = pixels[1, ..., 0] = 10
    labels = model.predict(pixels).svm_labels
    assert labels is not None
    assert labels.tolist() == ["no green", "no red"]
    with pytest.raises(ModelError, match=r"SVM scores differ by 0\.1"):
        open_model(colours.write_model_with_svm(tmp_path / "both.onnx", spoil=0.1))


@pytest.mark.parametrize("there", [False, True])
def test_weights_in_another_file_are_never_read(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """The seal would not cover them; 3 GB of them need not even be there."""
    model = onnx.load(model_file)
    kernel = np.ones((3, 3), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "kernel"))
    model.graph.node.append(helper.make_node("MatMul", ["features", "kernel"], ["product"]))
    model.graph.output.append(helper.make_tensor_value_info("product", 1, ["batch", 3]))
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    place = {"location": "weights.bin", "offset": "0" if there else str(3 * 2**30), "length": "36"}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)
    colours.save(model, model_file)
    monkeypatch.chdir(tmp_path)
    if there:
        (tmp_path / "weights.bin").write_bytes(kernel.tobytes())
    with pytest.raises(ModelError, match="keeps its weights in other files"):
        open_model(model_file)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda card: "nonsense", "its card cannot be used"),
        (lambda card: "{}", "its card cannot be used"),
        (lambda card: card.replace('"red"', '"green"'), "two classes have the same name"),
        (lambda card: card.replace('"height":12', '"height":-12'), "height"),
        (lambda card: card.replace('"height":12', '"height":1200000000'), "1200000000"),
        (lambda card: card.replace('"stretch"', '"squash"'), "squash"),
        (lambda card: card.replace('"format":1', '"format":9'), "format 9"),
        (lambda card: card.replace('"uint8"', '"float32"'), "float32"),
        (lambda card: card.replace('"dimension":3', '"dimension":300'), "its card promises 300"),
    ],
)
def test_a_card_edited_into_nonsense_is_one_sentence(
    boatinfer: Command, model_file: Path, spoil: Any, said: str
) -> None:
    """Even if whoever edited it sealed the file anew."""
    model = onnx.load(model_file)
    (entry,) = (entry for entry in model.metadata_props if entry.key == CARD_KEY)
    spoiled = spoil(entry.value)
    assert spoiled != entry.value
    entry.value = spoiled
    colours.save(model, model_file)
    done = boatinfer("model", "check", model_file)
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
    assert said in done.err


def test_removed_golden_images_are_missed(
    boatinfer: Command, model_file: Path, pictures: Path, tmp_path: Path
) -> None:
    model = onnx.load(model_file)
    for entry in list(model.metadata_props):
        if entry.key == GOLDEN_KEY:
            model.metadata_props.remove(entry)
    colours.save(model, model_file)
    for command in [("run", pictures, "-o", tmp_path / "out", "-m"), ("model", "check")]:
        done = boatinfer(*command, model_file)
        assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
        assert "has lost its golden images" in done.err
    assert not (tmp_path / "out").exists()


def test_a_keras_file_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"PK\3\4" + bytes(50))
    with pytest.raises(ModelError, match="boatinfer export"):
        open_model(tmp_path / "m.keras")


def test_an_unknown_device_and_one_path_alone(model_file: Path, pictures: Path) -> None:
    with pytest.raises(UsageError, match="auto, cpu or cuda"):
        open_model(model_file, "gpu")
    found = open_model(model_file).predict(str(pictures / "red" / "000.jpg"))
    assert found.labels.tolist() == ["red"]


def test_a_named_pipe_does_not_wait_for_ever(model_file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="no regular file"):
        open_model(model_file).predict([tmp_path / "pipe.jpg"])


def test_logits_become_probabilities(tmp_path: Path, pictures: Path) -> None:
    plain = open_model(colours.write_model(tmp_path / "plain.onnx"))
    outputs = Outputs(logits="logits", features="features")
    card = colours.card(outputs=outputs)
    logits = open_model(colours.write_model(tmp_path / "l.onnx", card=card))
    paths = sorted(pictures.rglob("*.jpg"))
    found, wanted = logits.predict(paths).probabilities, plain.predict(paths).probabilities
    assert np.allclose(found, wanted, atol=1e-6)


def test_a_float_network_in_torch_layout_gets_what_its_card_says(tmp_path: Path) -> None:
    """The network passes its input through, so the features are what it was fed."""
    height, width = colours.SPEC.height, colours.SPEC.width
    spec = InputSpec(
        "x", "float32", "NCHW", "BGR", scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3)
    )
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Softmax", ["features"], ["probabilities"], axis=1),
    ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_model(
        helper.make_graph(
            nodes,
            "torch",
            [tensor("x", TensorProto.FLOAT, ["batch", 3, height, width])],
            [tensor(n, TensorProto.FLOAT, ["batch", 3]) for n in ("probabilities", "features")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    pixels = images.read(colours.picture("red"), colours.SPEC)
    blue_green_red = pixels[..., ::-1].mean(axis=(0, 1)) / 255
    wanted = (blue_green_red - [0.4, 0.5, 0.6]) / [0.1, 0.2, 0.3]
    powers = np.exp(wanted - wanted.max())
    golden = Golden(images=[GoldenImage(colours.picture("red"), (powers / powers.sum()).tolist())])
    documents = {CARD_KEY: encode(colours.card(input=spec)), GOLDEN_KEY: encode(golden)}
    helper.set_model_props(graph, documents)
    colours.save(graph, tmp_path / "torch.onnx")
    features = open_model(tmp_path / "torch.onnx").predict([pixels]).features
    assert features is not None
    assert np.allclose(features[0], wanted, atol=1e-4)


def test_cuda_is_never_replaced_by_the_cpu(model_file: Path) -> None:
    if session._cuda_devices():
        pytest.skip("this machine has a GPU; the refusal cannot be seen here")
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        open_model(model_file, "cuda")
    assert open_model(model_file, "auto").device == "cpu"


def test_a_gpu_without_its_libraries_is_said(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_cuda_devices", lambda: 1)
    with pytest.raises(DeviceError, match=r"pip install .*\[cuda\]"):
        open_model(model_file, "cuda")


def test_the_built_in_model_opens_and_tests_itself() -> None:
    model = boatinfer.open_model()
    assert len(model.card.classes) == 16
    assert model.path.stat().st_size < 2_000_000
    assert model.self_test() <= 1e-3


@pytest.mark.parametrize(("pixels", "wanted"), [(479, 1), (5 * 480, 5), (10**6, 32)])
def test_a_batch_has_about_a_million_pixels(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, pixels: int, wanted: int
) -> None:
    monkeypatch.setattr("boatinfer.models.model._BATCH_PIXELS", pixels)  # an image has 12 x 40
    assert open_model(model_file).batch_size == wanted
    assert open_model(model_file, batch_size=7).batch_size == 7
