from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib.numpy_pickle import NumpyArrayWrapper
from numpy.testing._private.utils import runstring
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import colours
from boatinfer.errors import ModelError, OutputError, UsageError
from boatinfer.models import svm as svms
from boatinfer.models.model import open_model
from boatinfer.models.seal import PICKLE, seal
from boatinfer.models.svm import load
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.folder import Results
from boatinfer.results.store.parts import Parts
from boatinfer.svm.fit import fit
from boatinfer.svm.options import FitOptions
from support import rows


@pytest.fixture
def out(pictures: Path, model_file: Path, tmp_path: Path) -> Path:
    """A results folder with features."""
    run(RunOptions(pictures, tmp_path / "out", model_file, features=True))
    return tmp_path / "out"


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_its_labels_are_those_of_scikit_learn(
    out: Path, pictures: Path, model_file: Path, tmp_path: Path, kernel: Any
) -> None:
    fit(FitOptions(out, tmp_path / "svm.joblib", kernel))
    colours.write_pictures(tmp_path / "new", each=7)
    new = RunOptions(tmp_path / "new", tmp_path / "out2", model_file, svm=tmp_path / "svm.joblib")
    run(new)

    model = open_model(model_file)
    known = sorted(pictures.rglob("*.jpg"))
    pipeline = make_pipeline(StandardScaler(), SVC(kernel=kernel))
    pipeline.fit(model.predict(known).features, [path.parent.name for path in known])
    found = rows(tmp_path / "out2")
    features = model.predict([tmp_path / "new" / row["path"] for row in found]).features
    assert [row["svm_label"] for row in found] == pipeline.predict(features).tolist()
    scores = pipeline.decision_function(features).max(axis=1)
    assert np.allclose([float(row["svm_score"]) for row in found], scores, atol=1e-4)


def test_a_run_with_an_svm_adds_its_columns_after_the_others(
    out: Path, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    fit(FitOptions(out, tmp_path / "svm.joblib"))
    (pictures / "bad.jpg").write_text("hello")
    summary = run(
        RunOptions(pictures, out, model_file, svm=tmp_path / "svm.joblib", max_failures="1")
    )
    assert (summary.reused, summary.failed) == (12, 1)
    found = rows(out)
    assert list(found[0])[-5:] == ["status", "svm_label", "svm_score", "run", "new"]
    assert [row["svm_label"] for row in found] == [
        "" if row["status"] != "ok" else row["path"].split("/")[0] for row in found
    ]


def test_two_classes_work_as_many_do(pictures: Path, model_file: Path, tmp_path: Path) -> None:
    for picture in (pictures / "blue").iterdir():
        picture.unlink()
    run(RunOptions(pictures, tmp_path / "out", model_file, features=True))
    svm, report = fit(FitOptions(tmp_path / "out", tmp_path / "svm.joblib"))
    assert (svm.classes, report.images) == (["green", "red"], 8)
    features = open_model(model_file).predict(sorted(pictures.rglob("*.jpg"))).features
    assert features is not None
    labels, scores = load(tmp_path / "svm.joblib").classify(features)
    assert labels.tolist() == ["green"] * 4 + ["red"] * 4
    assert (scores > 0).all()


def test_an_svm_of_another_model_is_refused(out: Path, pictures: Path, tmp_path: Path) -> None:
    fit(FitOptions(out, tmp_path / "svm.joblib"))
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(notes="another"))
    with pytest.raises(ModelError, match="was fitted on 3 features of the model"):
        run(RunOptions(pictures, out, other, svm=tmp_path / "svm.joblib"))


def test_an_svm_inside_the_model_fills_the_same_columns(
    pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    both = colours.write_model_with_svm(tmp_path / "both.onnx")
    (pictures / "bad.jpg").write_text("hello")
    night = RunOptions(pictures, tmp_path / "out", both, max_failures="1")
    run(night)
    first = rows(tmp_path / "out")
    assert list(first[0])[-5:] == ["status", "svm_label", "svm_score", "run", "new"]
    paths = [pictures / row["path"] for row in first if row["status"] == "ok"]
    predictions = open_model(both).predict(paths)
    assert predictions.svm_labels is not None
    assert predictions.features is not None
    labels = [row["svm_label"] for row in first if row["status"] == "ok"]
    assert labels == predictions.svm_labels.tolist()
    scores = [float(row["svm_score"]) for row in first if row["status"] == "ok"]
    assert np.allclose(scores, -predictions.features.min(axis=1), atol=1e-4)
    assert [row["svm_label"] for row in first if row["status"] != "ok"] == [""]

    (pictures / "red" / "000.jpg").rename(pictures / "green" / "moved.jpg")
    assert run(night).reused == 12
    moved = {row["path"]: row["svm_label"] for row in rows(tmp_path / "out")}
    assert moved["green/moved.jpg"] == moved["red/001.jpg"]

    fit(FitOptions(_features(pictures, both, tmp_path), tmp_path / "svm.joblib"))
    with pytest.raises(UsageError, match="leave --svm out"):
        run(RunOptions(pictures, tmp_path / "out", both, svm=tmp_path / "svm.joblib"))


def _features(pictures: Path, model: Path, tmp_path: Path) -> Path:
    (pictures / "bad.jpg").unlink()
    run(RunOptions(pictures, tmp_path / "out3", model, features=True))
    return tmp_path / "out3"


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("nan"), float("inf")])
def test_a_penalty_that_is_none_is_refused(out: Path, tmp_path: Path, penalty: float) -> None:
    with pytest.raises(UsageError, match="--C"):
        fit(FitOptions(out, tmp_path / "svm.joblib", penalty=penalty))


def test_a_stopped_run_does_not_mix_two_models_in_one_svm(
    out: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(notes="another"))
    append = Parts.append

    def stop(self: Parts, rows: Any, *arguments: Any) -> None:
        append(self, rows[:6], *arguments)
        raise OutputError("full")

    with monkeypatch.context() as stopped, pytest.raises(OutputError):
        stopped.setattr(Parts, "append", stop)
        run(RunOptions(pictures, out, other, features=True))
    svm, report = fit(FitOptions(out, tmp_path / "svm.joblib"))
    complete = Results(out).last_complete()
    assert complete is not None
    assert (svm.model, report.images) == (complete.model, complete.found - complete.failed)
    assert svm.model != open_model(other).digest


def test_an_svm_that_exists_is_replaced_with_force_alone(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "svm.joblib"
    target.write_text("precious")
    with pytest.raises(UsageError, match="--force"):
        fit(FitOptions(out, target))
    assert target.read_text() == "precious"
    fit(FitOptions(out, target, force=True))
    assert load(target).classes == ["blue", "green", "red"]


def test_what_cannot_be_fitted_is_said(
    out: Path, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    def fails(options: FitOptions, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            fit(options)

    target = tmp_path / "svm.joblib"
    fails(FitOptions(out, tmp_path / "nowhere" / "svm.joblib"), "does not exist")
    fails(FitOptions(tmp_path / "nowhere", target), "there is no folder")
    run(RunOptions(pictures, tmp_path / "bare", model_file))
    fails(FitOptions(tmp_path / "bare", target), "without features")
    run(RunOptions(pictures / "red", tmp_path / "flat", model_file, features=True))
    fails(FitOptions(tmp_path / "flat", target), "in no class folder")
    (tmp_path / "one").mkdir()
    (pictures / "red").rename(tmp_path / "one" / "red")
    run(RunOptions(tmp_path / "one", tmp_path / "single", model_file, features=True))
    fails(FitOptions(tmp_path / "single", target), "images of 1 class")
    assert not target.exists()


def test_no_file_is_written_that_would_not_score_as_scikit_learn_does(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of it might give the attributes that are read another meaning."""
    monkeypatch.setattr(SVC, "decision_function", lambda _, x: np.ones((len(x), 3)))
    with pytest.raises(ModelError, match="would score otherwise than this scikit-learn"):
        fit(FitOptions(out, tmp_path / "svm.joblib", folds=0))
    assert not (tmp_path / "svm.joblib").exists()


def test_a_night_with_an_svm_needs_neither_scikit_learn_nor_joblib(
    out: Path, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    fit(FitOptions(out, tmp_path / "svm.joblib", probability=True))
    code = (
        "import sys; sys.modules |= dict.fromkeys(['sklearn', 'joblib', 'scipy', 'matplotlib']); "
        "from boatinfer.cli import main; main()"
    )
    options = ["-m", str(model_file), "-o", str(out), "--svm", str(tmp_path / "svm.joblib")]
    command = [sys.executable, "-c", code, "run", str(pictures), *options]
    subprocess.run(command, check=True, capture_output=True)
    assert [row["svm_label"] for row in rows(out)] == [
        row["path"].split("/")[0] for row in rows(out)
    ]


class Attack:
    """Unpickled in the ordinary way, this makes a file."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def sealed(file: Path) -> Path:
    """Gives a file the seal of an SVM file, as anybody can."""
    file.write_bytes(seal(file.read_bytes(), PICKLE))
    return file


def attacks(mark: Path) -> dict[str, Any]:
    """Objects whose pickle makes ``mark``, each by another way."""
    shell = Attack(os.system, f"touch {mark}")
    scaler, nested = StandardScaler(), StandardScaler()
    scaler.mean_ = shell
    nested.mean_ = np.array([[1.0, np.array([shell, "x"], dtype=object)]], dtype=object)
    svc = SVC(kernel=Attack(eval, f"__import__('os').mkdir({str(mark)!r})"))
    return {
        "posix.system": shell,
        "builtins.eval": Attack(eval, f"__import__('os').mkdir({str(mark)!r})"),
        "builtins.getattr": Attack(getattr, Attack(__import__, "os"), "x"),
        "numpy.testing._private.utils.runstring": Attack(
            runstring, f"import os; os.mkdir({str(mark)!r})", {}
        ),
        "in a scaler": {"format": 1, "pipeline": scaler},
        "in a pipeline": make_pipeline(StandardScaler(), svc),
        "in an array": np.array([shell, None], dtype=object),
        "in an array in an array": make_pipeline(nested, SVC()),
    }


@pytest.mark.parametrize("name", list(attacks(Path("x"))))
@pytest.mark.parametrize("dump", [joblib.dump, "pickle"])
def test_nothing_but_an_svm_is_ever_executed(tmp_path: Path, name: str, dump: Any) -> None:
    mark, file = tmp_path / "mark", tmp_path / "evil.joblib"
    if dump == "pickle":
        file.write_bytes(pickle.dumps(attacks(mark)[name]))
    else:
        dump(attacks(mark)[name], file)
    with pytest.raises(ModelError, match="is refused: it"):
        load(sealed(file))
    assert not mark.exists()
    if name != "builtins.getattr":  # the attacks are real ones
        joblib.load(file)
        assert mark.exists()


def test_a_way_through_a_module_of_scikit_learn_is_refused(tmp_path: Path) -> None:
    """``sklearn.datasets._base`` imports os, and protocol 4 lets a name have dots."""
    mark, file = tmp_path / "mark", tmp_path / "evil.joblib"
    words = ["sklearn.datasets._base", "os.mkdir", str(mark)]
    module, name, argument = (b"\x8c" + bytes([len(w)]) + w.encode() for w in words)
    file.write_bytes(b"\x80\x04" + module + name + b"\x93" + argument + b"\x85R.")
    with pytest.raises(ModelError, match=r"wants to load sklearn\.datasets\._base\.os\.mkdir"):
        load(sealed(file))
    assert not mark.exists()
    joblib.load(file)
    assert mark.exists()


def test_an_array_with_a_false_dtype_is_refused(tmp_path: Path) -> None:
    """For a dtype that has objects joblib reads a second pickle; not every release guards it."""
    mark, file = tmp_path / "mark", tmp_path / "evil.joblib"
    false = Pipeline.__new__(Pipeline)
    false.__dict__["hasobject"] = True
    wrapper = NumpyArrayWrapper(np.ndarray, (1,), "C", np.dtype("f4"))
    wrapper.dtype = false
    inner = pickle.dumps(Attack(os.mkdir, str(mark)), protocol=2)
    file.write_bytes(pickle.dumps(wrapper, protocol=2)[:-1] + inner + b".")
    with pytest.raises(ModelError, match="an array that is not plain"):
        load(sealed(file))
    assert not mark.exists()
    with pytest.raises(AttributeError):  # it made the mark, and stumbled over what that gave
        joblib.load(file)
    assert mark.exists()


def forged_array() -> bytes:
    """A pickle of an array whose dtype passes bytes off as objects."""
    state = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)

    class Forged:
        def __reduce__(self) -> tuple[Any, ...]:
            return np.dtype, ("V8", False, True), state

    return pickle.dumps(Forged())


def test_a_dtype_that_lies_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.joblib").write_bytes(forged_array())
    with pytest.raises(ModelError, match="refused"):
        load(sealed(tmp_path / "evil.joblib"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d["pipeline"].steps[1][1].__dict__.update(_n_support=np.array([9, 9, 9], "i4")),
        lambda d: d["pipeline"].steps[1][1].__dict__.update(support_vectors_=np.zeros((1, 1))),
        lambda d: d["pipeline"].steps[1][1].__dict__.update(kernel="precomputed"),
        lambda d: d.update(classes=["a"]),
        lambda d: d.update(classes=3),
        lambda d: d.update(pipeline=None),
        lambda d: d.update(dimension=4),
        lambda d: d.update(format=3),
        lambda d: d.pop("model"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(out: Path, tmp_path: Path, spoil: Any) -> None:
    fit(FitOptions(out, tmp_path / "svm.joblib"))
    document = joblib.load(tmp_path / "svm.joblib")
    spoil(document)
    joblib.dump(document, tmp_path / "svm.joblib")
    with pytest.raises(ModelError, match=r"refused|not an SVM file"):
        load(sealed(tmp_path / "svm.joblib"))


@pytest.mark.parametrize("name", ["posix.system", "builtins.eval"])
def test_what_is_refused_is_named(tmp_path: Path, name: str) -> None:
    joblib.dump(attacks(tmp_path / "mark")[name], tmp_path / "evil.joblib")
    with pytest.raises(ModelError, match=f"wants to load {name}"):
        load(sealed(tmp_path / "evil.joblib"))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x05K\x01."])
def test_a_file_that_is_no_svm_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.joblib").write_bytes(content)
    for file in (tmp_path / "x.joblib", sealed(tmp_path / "x.joblib")):
        with pytest.raises(ModelError, match="not an SVM file"):
            load(file)


def test_every_cut_and_every_changed_byte_of_a_real_file_is_refused(
    out: Path, tmp_path: Path
) -> None:
    file = tmp_path / "svm.joblib"
    fit(FitOptions(out, file))
    whole = file.read_bytes()
    for place in {*range(0, len(whole), 97), *range(len(whole) - 90, len(whole))}:
        changed = bytearray(whole)
        changed[place] ^= 1
        for content in (whole[:place], changed):
            file.write_bytes(content)
            with pytest.raises(ModelError, match=r"do not fit its seal|it has no seal"):
                load(file)


def test_the_file_holds_what_the_design_says(out: Path, tmp_path: Path) -> None:
    svm, _ = fit(FitOptions(out, tmp_path / "svm.joblib"))
    document = joblib.load(tmp_path / "svm.joblib")
    assert set(document) == svms._KEYS
    assert load(tmp_path / "svm.joblib").model == svm.model == document["model"]
