from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

import colours
import networks
from boatexport.foreign.describing import DescribeResult, describe_model
from boatexport.graph.class_activation import remove_class_activation
from boatexport.options import DescribeOptions
from boatinfer import images
from boatinfer.errors import BoatinferError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.model import open_model
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.svm.fit import fit
from boatinfer.svm.options import FitOptions
from support import Command, rows

IMAGENET: dict[str, Any] = {"mean": "0.485,0.456,0.406", "std": "0.229, 0.224, 0.225"}
NAMES = ",".join(networks.CLASSES)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    colours.write_pictures(folder, each=3)
    return folder


def described(model: Path, pictures: Path, **options: Any) -> DescribeResult:
    options = {"classes": NAMES} | options
    return describe_model(
        DescribeOptions(model, model.with_suffix(".described.onnx"), pictures, **options)
    )


def reference(
    model: Path, pixels: np.ndarray[Any, Any], *, single: bool = False
) -> np.ndarray[Any, Any]:
    """The scores of the original file, in plain onnxruntime, image by image."""
    session = onnxruntime.InferenceSession(model)
    (fed,) = session.get_inputs()
    found = [
        session.run(None, {fed.name: image if single else image[None]})[0].reshape(-1)
        for image in pixels
    ]
    return np.stack(found)


def torch_pixels(paths: list[Path], spec: ImageSpec) -> np.ndarray[Any, Any]:
    """ImageNet's normalisation as in torchvision's ToTensor and Normalize: float32 NCHW."""
    pixels = np.stack([images.read(path.read_bytes(), spec) for path in paths])
    scaled = (pixels / 255 - networks.MEAN) / networks.STD
    return scaled.transpose(0, 3, 1, 2).astype(np.float32)


@pytest.mark.parametrize(
    "batch", ["N", -1, 1, 4, None], ids=["any", "minus one", "one", "four", "no batch axis"]
)
def test_a_torch_network_gives_in_a_night_what_plain_onnxruntime_gives(
    pictures: Path, tmp_path: Path, batch: Any
) -> None:
    model = networks.save(networks.torch_layout(batch=batch), tmp_path / "net.onnx")
    done = described(model, pictures, **IMAGENET, features="/flatten")
    summary = run(RunOptions(pictures, tmp_path / "out", done.path, features=True, batch_size=5))
    assert summary.complete
    assert summary.classified == 9
    (part,) = (tmp_path / "out" / "parts").iterdir()
    found = {row["path"]: row for row in pq.read_table(part).to_pylist()}
    paths = [pictures / path for path in found]
    spec = ImageSpec(height=20, width=36, resize="bilinear", fit="crop", decode="full")
    if batch == 4:  # the reference is the same network with a free axis
        networks.save(networks.torch_layout(), model)
    scores = reference(model, torch_pixels(paths, spec), single=batch is None)
    wanted = networks.softmax(scores)
    got = np.array([row["probabilities"] for row in found.values()])
    assert np.abs(got - wanted).max() < 1e-5
    labels = [row["label"] for row in found.values()]
    assert labels == [networks.CLASSES[index] for index in wanted.argmax(axis=1)]
    assert all(len(row["features"]) == 6 for row in found.values())


def test_a_keras_network_that_scales_inside(pictures: Path, tmp_path: Path) -> None:
    model = networks.save(networks.tf_layout(), tmp_path / "tf.onnx")
    done = described(model, pictures, scale="1", fit="stretch", features="model/pool/Mean:0")
    paths = sorted(pictures.rglob("*.jpg"))
    spec = ImageSpec(height=20, width=36, resize="bilinear", fit="stretch", decode="full")
    pixels = np.stack([images.read(path.read_bytes(), spec) for path in paths])
    opened = open_model(done.path)
    assert opened.card.outputs.probabilities == "predictions"
    wanted = reference(model, pixels.astype(np.float32))
    assert np.abs(opened.predict(paths).probabilities - wanted).max() < 1e-6


def test_it_serves_run_report_svm_and_similar(
    pictures: Path, tmp_path: Path, boatinfer: Command
) -> None:
    model = networks.save(networks.torch_layout(), tmp_path / "net.onnx")
    done = described(model, pictures, **IMAGENET, features="/avgpool", licence="MIT", notes="n")
    run(RunOptions(pictures, tmp_path / "out", done.path, features=True))
    assert (tmp_path / "out" / "report.html").exists()
    svm, _ = fit(FitOptions(tmp_path / "out", tmp_path / "svm.joblib"))
    assert (svm.dimension, svm.classes) == (6, ["blue", "green", "red"])
    run(RunOptions(pictures, tmp_path / "out", done.path, svm=tmp_path / "svm.joblib"))
    assert {row["svm_label"] for row in rows(tmp_path / "out")} == {"blue", "green", "red"}
    alike = boatinfer("similar", pictures / "red" / "000.jpg", tmp_path / "out", "-k", 2)
    assert alike.out.count("  red/") == 2
    card = open_model(done.path).card
    assert (card.name, card.licence, card.notes) == ("net", "MIT", "n")


def test_the_network_stays_as_it_is(pictures: Path, tmp_path: Path) -> None:
    model = networks.save(networks.torch_layout(), tmp_path / "net.onnx", author="somebody")
    before = onnx.load(model)
    after = onnx.load(described(model, pictures, **IMAGENET).path)
    remove_class_activation(after)
    assert after.graph == before.graph
    assert {entry.key for entry in after.metadata_props} > {"author", "boatinfer.card"}
    onnx.checker.check_model(
        described(model, pictures, **IMAGENET, features="flat", force=True).path, full_check=True
    )


def test_what_an_ultralytics_file_tells_need_not_be_given(
    pictures: Path, tmp_path: Path, boatinfer: Command
) -> None:
    names = str(dict(enumerate(networks.CLASSES)))
    metadata = {"author": "Ultralytics", "task": "classify", "license": "AGPL-3.0"}
    graph = networks.torch_layout(ends=("Softmax",))
    for axis in graph.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.dim_param = "free"
    model = networks.save(graph, tmp_path / "yolo.onnx", names=names, imgsz="[20, 36]", **metadata)
    done = boatinfer("model", "describe", model, "-o", tmp_path / "d.onnx", "--golden", pictures)
    assert done.code == 0
    for said in [
        "size       20 x 36 (from the file)",
        "pixels     (pixel / 255 - (0 0 0)) / (1 1 1) (from the file)",
        "classes    4: red, green, blue, none (from the file)",
        "scores     softmax, probabilities (from the golden images)",
        "images     stretched to 20 x 36 pixels (bilinear), decoded whole (from the file)",
        "--features flat would add",
        "of 3 golden images are labelled as their folder",
    ]:
        assert said in done.out
    card = open_model(tmp_path / "d.onnx").card
    assert (card.licence, card.input.scale, card.image.fit) == ("AGPL-3.0", 1 / 255, "stretch")


def test_damaged_metadata_is_as_none(pictures: Path, tmp_path: Path) -> None:
    model = networks.save(
        networks.torch_layout(), tmp_path / "x.onnx", names="{0: ", imgsz="__import__('os')"
    )
    with pytest.raises(UsageError, match="give --classes"):
        described(model, pictures, **IMAGENET, classes=None)


def test_classes_from_a_file_and_twins_told_apart(pictures: Path, tmp_path: Path) -> None:
    model = networks.save(networks.torch_layout(), tmp_path / "net.onnx")
    (tmp_path / "names.txt").write_text("\ufefftench\ncrane\n shark \ncrane\n\n", "utf-8")
    done = described(model, pictures, **IMAGENET, classes=str(tmp_path / "names.txt"))
    assert open_model(done.path).card.classes == ["tench", "crane (1)", "shark", "crane (3)"]
    assert done.correct is None


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"scale": "1/255"}, (1 / 255, (0, 0, 0), (1, 1, 1))),
        ({"mean": "0.5", "std": "0.5"}, (1 / 255, (0.5,) * 3, (0.5,) * 3)),
        ({"mean": "127.5", "std": "127.5"}, (1, (127.5,) * 3, (127.5,) * 3)),
        ({"mean": "103.9 116.8 123.7", "order": "BGR"}, (1, (103.9, 116.8, 123.7), (1, 1, 1))),
        ({"mean": "0.5", "std": "2", "scale": "1/127"}, (1 / 127, (0.5,) * 3, (2,) * 3)),
    ],
)
def test_ways_to_normalise(pictures: Path, tmp_path: Path, options: Any, wanted: Any) -> None:
    model = networks.save(networks.torch_layout(), tmp_path / "net.onnx")
    feed = open_model(described(model, pictures, **options).path).card.input
    assert (feed.scale, feed.mean, feed.std) == wanted
    assert feed.order == options.get("order", "RGB")


def test_half_precision_is_seen(pictures: Path, tmp_path: Path) -> None:
    graph = networks.torch_layout(kind=TensorProto.FLOAT16)
    model = networks.save(graph, tmp_path / "half.onnx")
    done = described(model, pictures, **IMAGENET, features="/flatten")
    card = open_model(done.path).card
    assert (card.precision, card.input.dtype) == ("float16", "float16")


def edited(change: Any, **options: Any) -> onnx.ModelProto:
    model = networks.torch_layout(**options)
    change(model.graph)
    return model


def _axes(graph: onnx.GraphProto) -> Any:
    return graph.input[0].type.tensor_type.shape.dim


def _external(graph: onnx.GraphProto) -> None:
    tensor = graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "net.onnx.data", "length": str(3 * 2**30)}.items():
        tensor.external_data.add(key=key, value=value)


def _second_image(graph: onnx.GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["N", 6, 1, 1]))
    graph.node.append(helper.make_node("Add", ["pool", "other"], ["both"]))


def _text(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Cast", ["logits"], ["label"], to=TensorProto.STRING))
    graph.output.append(helper.make_tensor_value_info("label", TensorProto.STRING, ["N", 4]))


def _mixed(graph: onnx.GraphProto) -> None:
    graph.node[1].op_type = "Sub"
    graph.node[1].input.append("average")
    graph.node.insert(
        1, helper.make_node("ReduceMean", ["conv"], ["average"], axes=[0], keepdims=1)
    )


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (_external, {}, "has weights in net.onnx.data, which cannot be read: No such file"),
    (lambda g: setattr(g.node[1], "domain", "my.ops"), {}, "does not have (my.ops.Relu)"),
    (_second_image, {}, "has 2 inputs (input (tensor(float), ? x 3 x 20 x 36), other"),
    (_text, {}, "has the output label (tensor(string), ? x 4)"),
    (_mixed, {}, "depend on other images"),
    (lambda g: setattr(_axes(g)[1], "dim_value", 1), {}, "without an axis of the 3 channels"),
    (lambda g: setattr(_axes(g)[2], "dim_param", "h"), {}, "give --size HEIGHTxWIDTH"),
    (lambda g: None, {"size": "20x35"}, "give that size"),
    (lambda g: None, {"size": "big"}, "write it like 224x224"),
    (lambda g: None, {"layout": "NHWC"}, "which is NCHW"),
    (lambda g: setattr(_axes(g)[3], "dim_value", 3), {}, "give --layout"),
    (lambda g: None, {"mean": None, "std": None}, "does not define its pixel normalisation"),
    (
        lambda g: setattr(_axes(g)[2], "dim_param", "h"),
        {"classes": None, "mean": None, "std": None},
        "does not define its class names and its input size and its pixel normalisation",
    ),
    (lambda g: None, {"mean": "1,2"}, "give one number, or three"),
    (lambda g: None, {"mean": "grey"}, "write numbers like 0.485"),
    (lambda g: None, {"std": "0"}, "must be above 0"),
    (lambda g: None, {"scale": "1/0"}, "write numbers like"),
    (lambda g: None, {"mean": "1e999"}, "write numbers like"),
    (lambda g: None, {"scale": "-1"}, "must be above 0"),
    (lambda g: None, {"classes": "a,a,a (0),c"}, "two classes have the same name"),
    (lambda g: None, {"classes": "a,b,c"}, "gives 4 scores per image, but there are 3 class names"),
    (lambda g: None, {"classes": "a,,c,d"}, "1 of them empty"),
    (lambda g: None, {"classes": "nowhere.txt"}, "the file cannot be read: No such file"),
    (lambda g: None, {"classes": None}, "does not define its class names"),
    (lambda g: None, {"features": "layer4"}, "the input of its last layer is flat"),
    (lambda g: None, {"features": "relu"}, "6 x 5 x 9"),
    (lambda g: None, {"scores": "label"}, "has no such floating-point output"),
    (lambda g: g.output.add(name="flat"), {"classes": "a,b,c,d,e"}, "with --scores"),
]


@pytest.mark.parametrize(("change", "options", "said"), REFUSED, ids=[r[2] for r in REFUSED])
def test_what_cannot_be_described_is_one_sentence_and_writes_nothing(
    pictures: Path, tmp_path: Path, change: Any, options: Any, said: str
) -> None:
    model = networks.save(edited(change), tmp_path / "net.onnx")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BoatinferError) as raised:
        described(model, pictures, **(IMAGENET | options))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code in {2, 4}
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("ends", "options", "said"),
    [
        (("Sigmoid",), {}, "ends in a sigmoid"),
        (("Sigmoid", "Identity", "Flatten"), {}, "ends in a sigmoid"),
        (("Sigmoid", "Sqrt"), {}, "gives numbers from 0 to 1"),
        (("Softmax",), {"logits": True}, "omit --logits"),
        (("Softmax", "Log", "Sqrt"), {}, "are not finite"),
    ],
)
def test_scores_that_are_no_choice_are_refused(
    pictures: Path, tmp_path: Path, ends: tuple[str, ...], options: Any, said: str
) -> None:
    model = networks.save(networks.torch_layout(ends=ends), tmp_path / "net.onnx")
    with pytest.raises(BoatinferError, match=said):
        described(model, pictures, **IMAGENET, **options)


def test_an_output_may_be_chosen_beside_text(pictures: Path, tmp_path: Path) -> None:
    model = networks.save(edited(_text), tmp_path / "net.onnx")
    card = open_model(described(model, pictures, **IMAGENET, scores="logits").path).card
    assert card.outputs.logits == "logits"


def test_files_that_are_no_foreign_models_are_refused(
    pictures: Path, tmp_path: Path, boatinfer: Command
) -> None:
    whole = networks.save(networks.torch_layout(), tmp_path / "net.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "keras.onnx").write_bytes(b"PK\3\4" + bytes(50))
    detector = networks.save(networks.torch_layout(), tmp_path / "seg.onnx", task="segment")
    ours = colours.write_model(tmp_path / "ours.onnx")
    for file, code, said in [
        ("cut.onnx", 4, "is truncated or damaged"),
        ("text.onnx", 4, "is not an ONNX file"),
        ("empty.onnx", 4, "without nodes"),
        ("keras.onnx", 4, "'boatinfer export'"),
        (".", 4, "Is a directory"),
        ("nowhere.onnx", 4, "No such file"),
        (detector.name, 4, "for the task segment"),
        (ours.name, 2, "has a model card already"),
    ]:
        options = ("--golden", pictures, "--classes", NAMES, "--scale", "1")
        done = boatinfer("model", "describe", tmp_path / file, "-o", tmp_path / "o.onnx", *options)
        assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), file
        assert said in done.err
        assert not (tmp_path / "o.onnx").exists()


def test_nothing_is_overwritten(pictures: Path, tmp_path: Path) -> None:
    model = networks.save(networks.torch_layout(), tmp_path / "net.onnx")
    before = model.read_bytes()

    def fails(output: Path, said: str, **options: Any) -> None:
        with pytest.raises(UsageError, match=said):
            describe_model(DescribeOptions(model, output, pictures, NAMES, **(IMAGENET | options)))

    fails(model, "is what is to be read", force=True)
    done = described(model, pictures, **IMAGENET)
    fails(done.path, "--force")
    fails(tmp_path / "net.txt", r"must end in \.onnx")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UsageError, match="holds no image files"):
        described(model, tmp_path / "bare", **IMAGENET, force=True)
    assert model.read_bytes() == before
    assert open_model(done.path).card.classes == networks.CLASSES


def test_the_real_boats(mardct: Path, tmp_path: Path) -> None:
    """All valid images through a foreign network, against plain onnxruntime."""
    model = networks.save(networks.torch_layout(), tmp_path / "net.onnx")
    done = described(model, mardct / "valid", **IMAGENET, features="/flatten")
    summary = run(RunOptions(mardct / "valid", tmp_path / "out", done.path))
    assert (summary.classified, summary.failed) == (395, 0)
    (part,) = (tmp_path / "out" / "parts").iterdir()
    table = pq.read_table(part)
    spec = ImageSpec(height=20, width=36, resize="bilinear", fit="crop", decode="full")
    pixels = torch_pixels([mardct / "valid" / path for path in table["path"].to_pylist()], spec)
    wanted = networks.softmax(reference(model, pixels))
    got = np.array(table["probabilities"].to_pylist())
    assert np.abs(got - wanted).max() < 1e-5
