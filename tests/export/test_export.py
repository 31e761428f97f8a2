from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

import colours
import killers
from boatexport import convert, verify
from boatexport.exporting import export_model
from boatexport.options import ExportOptions
from boatinfer import images
from boatinfer.errors import ModelError
from boatinfer.models.card import decode_card, from_metadata
from boatinfer.models.model import open_model
from boattrain.backend import load_keras
from support import Command, Shell, Trained


@pytest.fixture(scope="session")
def keras() -> ModuleType:
    return load_keras()


@pytest.fixture
def model(trained: Trained, tmp_path: Path) -> Path:
    """A trained model with what lies beside it, for the test to spoil."""
    for ending in (".keras", ".card.json", ".golden.json"):
        shutil.copy(trained.output.with_suffix(ending), tmp_path)
    return tmp_path / trained.output.name


@pytest.mark.parametrize("count", [1, 2, 9])
def test_it_gives_what_keras_gives(
    exported: Path, trained: Trained, keras: ModuleType, count: int
) -> None:
    noise = np.random.default_rng(count).integers(0, 256, (count, 12, 40, 3), dtype=np.uint8)
    reference = keras.models.load_model(trained.output)
    probabilities, features, *_ = open_model(exported).infer(noise)
    assert np.abs(probabilities - reference.predict(noise, verbose=0)).max() <= 1e-5
    last_but_one = keras.Model(reference.inputs[0], reference.get_layer("features").output)
    assert features is not None
    assert np.allclose(features, last_but_one.predict(noise, verbose=0), rtol=1e-4, atol=1e-5)


def test_same_files_same_labels_as_in_training(exported: Path, trained: Trained) -> None:
    """The accuracy that the training printed is that of the exported file."""
    paths = sorted((trained.data / "valid").rglob("*.[jJ]*"))
    labels = open_model(exported).predict(paths).labels
    accuracy = np.mean(labels == [path.parent.name for path in paths])
    card = open_model(exported).card
    assert card.training is not None
    assert accuracy == pytest.approx(card.training.metrics["accuracy"])


def test_the_graph_takes_raw_pixels_and_any_batch(exported: Path) -> None:
    graph = onnx.load(exported)
    onnx.checker.check_model(graph, full_check=True)
    tensor, request = graph.graph.input
    assert request.name in {constant.name for constant in graph.graph.initializer}  # optional
    kind = tensor.type.tensor_type
    assert (tensor.name, kind.elem_type) == ("image", onnx.TensorProto.UINT8)
    assert kind.shape.dim[0].dim_param == "batch"
    assert [dim.dim_value for dim in kind.shape.dim[1:]] == [12, 40, 3]
    assert {output.name for output in graph.graph.output} == {
        *("probabilities", "features", "class_activation")
    }
    assert (graph.ir_version, graph.opset_import[0].version) == (7, 13)


def test_card_and_golden_images_are_those_of_the_training(exported: Path, trained: Trained) -> None:
    metadata = {p.key: p.value for p in onnx.load(exported).metadata_props}
    card, golden = from_metadata(metadata, "exported")
    beside = trained.output.with_suffix(".card.json")
    outputs = msgspec.structs.replace(card.outputs, class_activation=None)
    card = msgspec.structs.replace(card, outputs=outputs)
    assert card == decode_card(beside.read_text(), "beside")
    assert len(golden.images) == 3
    assert str(trained.data) not in exported.read_bytes().decode("latin-1")


def test_other_golden_images_and_words_for_the_card(model: Path, tmp_path: Path) -> None:
    colours.write_pictures(tmp_path / "golden", each=2)
    options = ExportOptions(
        model, tmp_path / "x.onnx", tmp_path / "golden", name="n", licence="l", notes="o"
    )
    assert export_model(options).golden_images == 3
    opened = open_model(tmp_path / "x.onnx")
    assert (opened.card.name, opened.card.licence, opened.card.notes) == ("n", "l", "o")
    first = images.read((tmp_path / "golden/blue/000.jpg").read_bytes(), opened.card.image)
    stored = images.read(opened.golden.images[0].image, opened.card.image)
    assert np.abs(first.astype(int) - stored.astype(int)).mean() < 8
    flat = ExportOptions(model, tmp_path / "y.onnx", tmp_path / "golden" / "red")
    assert export_model(flat).golden_images == 2


def test_a_file_that_differs_from_keras_gets_no_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = convert.convert

    def wrong(reference: Any, card: Any) -> onnx.ModelProto:
        graph = real(reference, card)
        weights = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        values = onnx.numpy_helper.to_array(weights) * 1.001
        weights.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), weights.name))
        return graph

    monkeypatch.setattr(convert, "convert", wrong)
    (tmp_path / "x.onnx").write_text("what was there before")
    with pytest.raises(ModelError, match=r"differ from Keras|failed its self-test"):
        export_model(ExportOptions(model, tmp_path / "x.onnx", force=True))
    assert (tmp_path / "x.onnx").read_text() == "what was there before"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda graph: graph.output.add(name=graph.node[0].output[0]), "has the tensors"),
        (lambda graph: setattr(_batch(graph.input[0]), "dim_value", 1), "has the tensors"),
        (lambda graph: setattr(_batch(graph.output[0]), "dim_param", "N"), "has the tensors"),
        (lambda graph: graph.output.pop(), "its card names the tensors"),
    ],
    ids=["one more output", "fixed batch", "another axis", "one output less"],
)
def test_verification_sees_names_and_axes(
    model: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, said: str
) -> None:
    real = convert.convert

    def wrong(reference: Any, card: Any) -> onnx.ModelProto:
        graph = real(reference, card)
        spoil(graph.graph)
        return graph

    monkeypatch.setattr(convert, "convert", wrong)
    with pytest.raises(ModelError, match=said):
        export_model(ExportOptions(model))
    assert not model.with_suffix(".onnx").exists()


def _batch(tensor: onnx.ValueInfoProto) -> Any:
    return tensor.type.tensor_type.shape.dim[0]


def test_a_file_that_exists_is_replaced_with_force_alone(model: Path, boatinfer: Command) -> None:
    output = model.with_suffix(".onnx")
    output.write_text("precious")
    done = boatinfer("export", model)
    assert (done.code, output.read_text()) == (2, "precious")
    assert done.err.count("\n") == 1
    assert "--force to replace it" in done.err
    assert boatinfer("export", model, "--force").code == 0
    assert open_model(output).card.classes == ["blue", "green", "red"]


def test_verification_sees_values_features_and_shapes(exported: Path) -> None:
    opened = open_model(exported)

    def reference(pixels: images.Pixels, training: bool) -> dict[str, Any]:
        assert not training
        probabilities, features, *_ = opened.infer(pixels)
        return {"probabilities": probabilities.copy(), "features": np.array(features)}

    assert verify.verify(opened, reference) == 0

    def spoiled(name: str, spoil: Any) -> Any:
        def call(pixels: images.Pixels, training: bool) -> dict[str, Any]:
            outputs = reference(pixels, training)
            return outputs | {name: spoil(outputs[name])}

        return call

    for name, spoil in [
        ("probabilities", lambda p: p + 2e-5),
        ("probabilities", lambda p: p * np.nan),
        ("probabilities", lambda p: p[:, :2]),
        ("features", lambda f: f + 0.01 * np.abs(f).max()),
    ]:
        with pytest.raises(ModelError, match=f"exported {name} differ"):
            verify.verify(opened, spoiled(name, spoil))


def test_the_command_says_what_it_verified(model: Path, boatinfer: Command) -> None:
    done = boatinfer("export", model)
    assert done.code == 0
    assert "verified against Keras at batch sizes 1, 3 and 8: largest difference" in done.out
    assert f"{model.with_suffix('.onnx')} (" in done.out
    steps = ["loading TensorFlow", "converting the model to ONNX", "comparing the outputs"]
    assert [line[: len(step)] for line, step in zip(done.err.splitlines(), steps, strict=True)] == (
        steps
    )


def test_what_cannot_be_exported_is_one_sentence_and_writes_nothing(
    model: Path, tmp_path: Path, boatinfer: Command
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "x.jpg").write_text("hello")
    output = tmp_path / "x.onnx"
    damaged, lonely = tmp_path / "damaged.keras", tmp_path / "lonely.keras"
    damaged.write_bytes(model.read_bytes()[:5000])
    shutil.copy(model.with_suffix(".card.json"), damaged.with_suffix(".card.json"))
    shutil.copy(model, lonely)
    calls: list[tuple[list[Any], int, str]] = [
        ([tmp_path / "none.keras"], 4, "does not exist"),
        ([lonely], 4, "lonely.card.json, which"),
        ([damaged], 4, "cannot be loaded as a Keras model"),
        ([tmp_path / "README.md"], 2, "README.md: the model must end in .keras"),
        ([model, "-o", tmp_path / "x.h5"], 2, "x.h5: the output file must end in .onnx"),
        ([model, "--golden", tmp_path / "empty"], 2, "holds no image files"),
        ([model, "--golden", tmp_path / "none"], 2, "does not exist"),
        ([model, "--golden", tmp_path / "text"], 2, "x.jpg cannot be read: no known image format"),
    ]
    for arguments, code, said in calls:
        done = boatinfer("export", "-o", output, *arguments)
        assert (done.code, done.out) == (code, "")
        assert said in done.err
        assert len(set(done.err.splitlines()) - {"loading TensorFlow"}) == 1
        assert not output.exists()
    done = boatinfer("export", model, "-o", tmp_path / "nowhere" / "x.onnx")
    assert (done.code, "does not exist" in done.err) == (2, True)
    model.with_suffix(".golden.json").unlink()
    done = boatinfer("export", model, "-o", output)
    assert (done.code, "small.golden.json, which" in done.err) == (4, True)


def test_a_damaged_card_beside_the_model_is_refused(model: Path) -> None:
    card = model.with_suffix(".card.json")
    card.write_text(card.read_text().replace('"uint8"', '"uint7"'))
    with pytest.raises(ModelError, match="uint7"):
        export_model(ExportOptions(model))


def test_a_model_is_never_written_over_itself(model: Path, boatinfer: Command) -> None:
    before = model.read_bytes()
    done = boatinfer("export", model, "-o", model)
    assert (done.code, "in .onnx" in done.err) == (2, True)
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"layer":"features"', '"layer":"nowhere"'),
        ('"dimension":50', '"dimension":7'),
        ('"height":12', '"height":14'),
        ('"uint8"', '"float32"'),
    ],
)
def test_a_card_of_another_model_is_refused(model: Path, old: str, new: str) -> None:
    card = model.with_suffix(".card.json")
    text = json.dumps(json.loads(card.read_text()), separators=(",", ":"))
    assert old in text
    card.write_text(text.replace(old, new))
    with pytest.raises(ModelError, match="its card"):
        export_model(ExportOptions(model))
    assert not model.with_suffix(".onnx").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("export", "{}.keras"),
        ("model", "quantize", "{}.onnx"),
        ("model", "describe", "{}.onnx", "--golden", "{}"),
        ("svm", "export", "x.joblib", "-m", "{}.onnx"),
    ],
)
def test_a_mistyped_name_is_told_before_a_file_that_is_in_the_way(
    boatinfer: Command, tmp_path: Path, command: tuple[str, ...]
) -> None:
    there = tmp_path / "there.onnx"
    there.write_text("kept")
    done = boatinfer(*(word.format(tmp_path / "mistyped") for word in command), "-o", there)
    assert done.code in {2, 4}
    assert "mistyped" in done.err
    assert "exists already" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "s3://boats/m.keras"],
        ["model", "quantize", "s3://boats/m.onnx"],
        ["svm", "export", "svm.joblib", "-o", "x.onnx", "-m", "s3://boats/m.onnx"],
    ],
)
def test_what_lies_in_a_bucket_must_be_brought_here(
    boatinfer: Command, arguments: list[str]
) -> None:
    done = boatinfer(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "this must be a file or folder of this machine; copy it here" in done.err


@pytest.mark.parametrize("kind", ["segfault", "abort"])
def test_a_golden_image_that_crashes_the_decoder_is_one_sentence(
    model: Path, tmp_path: Path, unsafe_shell: Shell, kind: str
) -> None:
    (tmp_path / "golden").mkdir()
    killers.write_killer(tmp_path / "golden" / "killer.jpg", kind)
    done = unsafe_shell("export", model, "-o", "x.onnx", "--golden", "golden")
    assert done.returncode == 2
    assert "--golden golden: killer.jpg cannot be read: the process that worked" in done.stderr
    assert not (tmp_path / "x.onnx").exists()


def test_copies_that_a_step_leaves_in_cycles_are_collected_during_conversion() -> None:
    class Graph:
        def __init__(self) -> None:
            self.nodes = [{"graph": self} for _ in range(2_000)]

    loaded: list[list[object]] = [[] for _ in range(1_000_000)]  # as TensorFlow's objects are
    gc.collect()
    with convert.frequent_collection():
        in_use: deque[Graph] = deque(maxlen=4)  # so they are old when they become garbage
        graphs = []
        for _ in range(100):
            in_use.append(Graph())
            graphs.append(weakref.ref(in_use[-1]))
        assert sum(graph() is not None for graph in graphs) < 50
    assert len(loaded) == 1_000_000
    assert gc.get_freeze_count() == 0
