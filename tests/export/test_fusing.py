from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import colours
import networks
from boatexport import fusing
from boatexport.foreign.describing import describe_model
from boatexport.fusing import fuse
from boatexport.options import DescribeOptions, FuseOptions
from boatinfer import images
from boatinfer.errors import BoatinferError, ModelError
from boatinfer.models.card import Outputs
from boatinfer.models.model import open_model
from boatinfer.models.svm import SVM, load, pack, read
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.svm.fit import Setting, fit, pipeline
from boatinfer.svm.options import FitOptions
from support import Command, outcomes, rows


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    colours.write_pictures(folder, each=4)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return colours.write_model(tmp_path / "colours.onnx")


def fitted(model: Path, pictures: Path, kernel: Any = "rbf") -> Path:
    """An SVM on the features of the pictures."""
    out, file = model.with_suffix(".out"), model.with_suffix(".joblib")
    run(RunOptions(pictures, out, model, features=True))
    fit(FitOptions(out, file, kernel))
    return file


def svm_of(pipeline: Any, names: list[str], sigmoids: Any = None) -> SVM:
    """What a fitted pipeline's file holds."""
    return read(pack(pipeline, names, "f00d", 9, sigmoids), Path("svm.joblib"))


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("penalty", [0.1, 30.0])
def test_the_graph_scores_as_scikit_learn_does(kernel: Any, count: int, penalty: float) -> None:
    random = np.random.default_rng(count)
    centres = random.normal(size=(count, 9))
    truth = np.concatenate([np.arange(count), random.integers(count, size=150)])
    features = (centres[truth] + random.normal(size=(len(truth), 9))).astype(np.float32)
    features[:, 4] = 5  # a feature that never changes
    names = np.array([f"class {index}" for index in range(count)])
    pipeline = make_pipeline(StandardScaler(), SVC(kernel=kernel, C=penalty, break_ties=True))
    svm = svm_of(pipeline.fit(features, truth), names.tolist())
    new = random.normal(size=(400, 9)).astype(np.float32) * 2
    found, expected = fusing._run_svm_graph(svm, new), svm.scores(new)
    assert np.array_equal(found.argmax(axis=1), pipeline.predict(new))
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("count", [2, 7])
@pytest.mark.parametrize("exact", [True, False])
def test_the_graph_gives_the_probabilities_of_scikit_learn(
    count: int, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the scores of a linear SVM that was fitted on many images."""
    monkeypatch.setattr("boatinfer.svm.fit.EXACT", 10_000 if exact else 0)
    random = np.random.default_rng(count)
    centres = random.normal(size=(count, 9))
    truth = np.concatenate([np.arange(count).repeat(2), random.integers(count, size=150)])
    features = (centres[truth] + random.normal(size=(len(truth), 9))).astype(np.float32)
    setting = Setting("rbf" if exact else "linear")
    fitted = pipeline(setting, len(truth)).fit(features, truth)
    names = [f"class {index}" for index in range(count)]
    sigmoids = np.stack([-random.random(count) - 0.1, random.normal(size=count)])
    new = random.normal(size=(400, 9)).astype(np.float32) * 2
    for svm in (svm_of(fitted, names), svm_of(fitted, names, sigmoids)):
        found, expected = fusing._run_svm_graph(svm, new), svm.scores(new)
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_a_night_is_the_same_with_the_svm_inside_and_beside(
    model: Path, pictures: Path, tmp_path: Path, boatinfer: Command, kernel: str
) -> None:
    svm, both = fitted(model, pictures, kernel), tmp_path / "both.onnx"
    done = boatinfer("svm", "export", svm, "-m", model, "-o", both)
    assert done.code == 0
    assert "same label as scikit-learn for 1,000 of 1,000 random feature vectors" in done.out
    assert "an SVM of 3 classes inside" in done.out
    colours.write_pictures(tmp_path / "new", each=7)
    run(RunOptions(tmp_path / "new", tmp_path / "beside", model, svm=svm))
    run(RunOptions(tmp_path / "new", tmp_path / "inside", both))
    beside, inside = outcomes(tmp_path / "beside"), outcomes(tmp_path / "inside")
    for row, other in zip(inside, beside, strict=True):
        assert float(row.pop("svm_score")) == pytest.approx(float(other.pop("svm_score")), abs=2e-4)
    assert inside == beside
    card = open_model(both).card
    assert card.svm is not None
    assert (card.svm.kernel, card.svm.model) == (kernel, open_model(model).digest)
    assert f"svm         {kernel}, on the features; 3: blue, green, red" in (
        boatinfer("model", "show", both).out
    )


def test_a_night_needs_neither_scikit_learn_nor_joblib(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    fuse(FuseOptions(fitted(model, pictures), tmp_path / "both.onnx", model))
    code = (
        "import sys; sys.modules |= dict.fromkeys(['sklearn', 'joblib', 'scipy', 'onnx']); "
        "from boatinfer.cli import main; main()"
    )
    arguments = ["run", str(pictures), "-m", str(tmp_path / "both.onnx"), "-o", str(tmp_path / "o")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    assert [row["svm_label"] for row in rows(tmp_path / "o")] == [
        row["path"].split("/")[0] for row in rows(tmp_path / "o")
    ]


@pytest.mark.parametrize(
    ("network", "features"),
    [
        ({"batch": 1}, "/flatten"),
        ({"batch": None}, "/flatten"),
        ({}, "/avgpool"),
        ({"kind": TensorProto.FLOAT16}, "/flatten"),
    ],
    ids=["one at a time", "no batch axis", "1 x 1 pixels", "half precision"],
)
def test_an_svm_inside_a_foreign_network(
    pictures: Path, tmp_path: Path, network: Any, features: str
) -> None:
    foreign = networks.save(networks.torch_layout(**network), tmp_path / "foreign.onnx")
    model = tmp_path / "net.onnx"
    names = ",".join(networks.CLASSES)
    describe_model(
        DescribeOptions(foreign, model, pictures, names, scale="1/255", features=features)
    )
    svm = fitted(model, pictures)
    fuse(FuseOptions(svm, tmp_path / "both.onnx", model))
    paths = sorted(pictures.rglob("*.jpg"))
    vectors = open_model(model).predict(paths).features
    assert vectors is not None
    labels = open_model(tmp_path / "both.onnx").predict(paths).svm_labels
    assert labels is not None
    assert labels.tolist() == load(svm).classify(vectors)[0].tolist()


def test_the_golden_images_test_the_svm(model: Path, pictures: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.onnx"
    svm = fitted(model, pictures)
    fuse(FuseOptions(svm, both, model))
    assert open_model(both).card.name == f"{open_model(model).card.name}-svm"
    fuse(FuseOptions(svm, both, model, name="with an SVM", force=True))
    opened = open_model(both)
    assert opened.card.name == "with an SVM"
    assert all(len(test.svm or []) == 3 for test in opened.golden.images)
    graph = onnx.load(both)
    onnx.checker.check_model(graph, full_check=True)
    votes = next(
        weight
        for weight in graph.graph.initializer
        if onnx.numpy_helper.to_array(weight).tolist() == [2, 1, 0]
    )
    votes.CopyFrom(onnx.numpy_helper.from_array(np.array([0.0, 1.0, 2.0]), votes.name))
    colours.save(graph, both)
    with pytest.raises(ModelError, match="SVM scores differ"):
        open_model(both)


def test_what_cannot_be_fused_is_refused_and_nothing_overwritten(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    svm, both = fitted(model, pictures), tmp_path / "both.onnx"
    fuse(FuseOptions(svm, both, model))
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(notes="another"))
    bare = colours.write_model(
        tmp_path / "bare.onnx",
        card=colours.card(features=None, outputs=Outputs("probabilities")),
    )
    (tmp_path / "text.joblib").write_text("hello")
    files = {path: path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file()}
    calls: list[tuple[tuple[Path, Path, Path], bool, str]] = [
        ((svm, both, model), False, "--force to replace it"),
        ((svm, model, model), True, "is what is to be read"),
        ((svm, svm.with_suffix(".onnx"), model), True, "is what is to be read"),
        ((svm, tmp_path / "new.txt", model), False, "must end in .onnx"),
        ((svm, tmp_path / "new.onnx", other), False, "was fitted on 3 features of the model"),
        ((svm, tmp_path / "new.onnx", bare), False, "with no features"),
        ((svm, tmp_path / "new.onnx", both), False, "includes an SVM already"),
        ((svm, tmp_path / "new.onnx", tmp_path / "none.onnx"), False, "No such file"),
        ((tmp_path / "text.joblib", tmp_path / "new.onnx", model), False, "is not an SVM file"),
    ]
    for paths, force, said in calls:
        with pytest.raises(BoatinferError) as raised:
            fuse(FuseOptions(paths[0], paths[1], paths[2], force=force))
        assert said in str(raised.value)
    assert {path: path.read_bytes() for path in files} == files
    assert not list(tmp_path.glob("new.*"))


def test_a_graph_that_scores_otherwise_gets_no_name(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    svm = fitted(model, pictures)
    monkeypatch.setattr(SVM, "scores", lambda _, x: np.tile([3.0, 1.0, 0.0], (len(x), 1)))
    with pytest.raises(ModelError, match="so no file was written"):
        fuse(FuseOptions(svm, tmp_path / "both.onnx", model))
    assert not (tmp_path / "both.onnx").exists()


@pytest.fixture(scope="module")
def boats(mardct: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The features that the built-in model gives for the boats to train on."""
    out = tmp_path_factory.mktemp("boats") / "out"
    run(RunOptions(mardct / "train", out, features=True, report=False))
    return out


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_every_valid_boat_gets_scikit_learns_label(
    mardct: Path, boats: Path, tmp_path: Path, kernel: Any
) -> None:
    svm = tmp_path / "svm.joblib"
    fit(FitOptions(boats, svm, kernel))
    fuse(FuseOptions(svm, tmp_path / "both.onnx"))
    paths = sorted((mardct / "valid").rglob("*.jpg"))
    inside = open_model(tmp_path / "both.onnx")
    pixels = [path.read_bytes() for path in paths]
    read = np.stack([images.read(data, inside.card.image) for data in pixels])
    found = inside.infer(read)
    assert found.svm is not None
    assert found.features is not None
    assert inside.card.svm is not None
    expected = load(svm).scores(found.features)
    assert len(paths) == 395
    assert np.array_equal(found.svm.argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(found.svm - expected).max() < 3e-6
    labels = joblib.load(svm)["pipeline"].predict(found.features)
    assert found.svm.argmax(axis=1).tolist() == labels.tolist()
