from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

from blobs import write_blobs
from boatinfer.errors import ModelError, UsageError
from boatinfer.models.seal import PICKLE, seal
from boatinfer.models.svm import load
from boatinfer.results.find import find_results
from boatinfer.results.summary import Summary
from boatinfer.svm import fit as svm_fit
from boatinfer.svm.fit import fit
from boatinfer.svm.labelled import labelled_features
from boatinfer.svm.linear import LinearSVM
from boatinfer.svm.options import FitOptions
from support import Command, rows

Night = Callable[..., Summary]


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    """A results folder of 120 images of three classes whose features overlap."""
    return write_blobs(tmp_path / "blobs", 120, seed=0)


def known(out: Path) -> tuple[np.ndarray, np.ndarray]:
    found = labelled_features(find_results(out), None)
    return found.features, found.truth


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_scores_are_those_of_scikit_learns_cross_validation(
    blobs: Path, tmp_path: Path, kernel: Any
) -> None:
    _, report = fit(FitOptions(blobs, tmp_path / "s.joblib", kernel, class_weights="balanced"))
    features, truth = known(blobs)
    expected = cross_val_predict(
        make_pipeline(StandardScaler(), SVC(kernel=kernel, class_weight="balanced")),
        features,
        truth,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    )
    assert report.accuracy == pytest.approx((expected == truth).mean())
    assert report.accuracy is not None
    assert 0.4 < report.accuracy < 1
    assert report.classes == {"a": 40, "b": 40, "c": 40}
    assert load(tmp_path / "s.joblib").function.kernel == report.kernel == kernel
    assert json.loads((tmp_path / "s.report.json").read_text())["accuracy"] == report.accuracy


def test_a_search_takes_the_best_and_tells_how_far_it_is(
    blobs: Path, tmp_path: Path, boatinfer: Command
) -> None:
    done = boatinfer("svm", "fit", blobs, "-o", tmp_path / "s.joblib", "--search")
    assert done.code == 0
    assert "(15 of 15)" in done.err.splitlines()[-1]
    report = json.loads((tmp_path / "s.report.json").read_text())
    best = max(tried["accuracy"] for tried in report["searched"])
    assert report["accuracy"] == best
    svc = joblib.load(tmp_path / "s.joblib")["pipeline"][-1]
    assert (svc.C, svc.gamma) == (report["penalty"], report["gamma"])
    assert f"accuracy {best:.3f} (95 % interval" in done.out


@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_probabilities_are_those_of_scikit_learn(tmp_path: Path, classes: str) -> None:
    blobs = write_blobs(tmp_path / "blobs", 120, seed=0, classes=classes)
    fit(FitOptions(blobs, tmp_path / "s.joblib", probability=True))
    features, truth = known(blobs)
    expected = CalibratedClassifierCV(
        make_pipeline(StandardScaler(), SVC(break_ties=True)), cv=5, ensemble=False
    ).fit(features, truth)
    new = np.random.default_rng(3).normal(size=(50, 6)).astype(np.float32)
    found = load(tmp_path / "s.joblib").scores(new)
    assert np.allclose(found, expected.predict_proba(new), atol=1e-9)


def test_many_images_get_a_linear_svm_that_is_solved_in_blocks(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, _ = fit(FitOptions(blobs, tmp_path / "exact.joblib", "linear"))
    monkeypatch.setattr(svm_fit, "EXACT", 50)
    monkeypatch.setattr(svm_fit, "_QUICK", 100)
    said: list[str] = []
    options = FitOptions(blobs, tmp_path / "s.joblib", "linear", probability=True)
    svm, report = fit(options, said.append)
    assert len(said) == 1
    assert said[0].startswith("fitting 120 images of 6 features takes about 1 s, 12 fits")
    assert report.accuracy is not None
    read = load(tmp_path / "s.joblib")
    features, _ = known(blobs)
    assert read.function.kernel == "linear"
    assert np.array_equal(read.scores(features), svm.scores(features))
    agreeing = (read.scores(features).argmax(1) == exact.scores(features).argmax(1)).mean()
    assert agreeing > 0.85


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_the_solution_in_blocks_is_that_of_liblinear(
    count: int, weights: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boatinfer.svm.linear._BLOCK", 37)
    random = np.random.default_rng(0)
    truth = random.integers(count, size=200) // random.integers(1, 3, size=200)
    features = (random.normal(size=(count, 5))[truth] + random.normal(size=(200, 5))).astype("f4")
    ours = LinearSVM(0.1, weights, tol=1e-9).fit(features, truth)
    # A large scale leaves liblinear's intercept as free as ours.
    peer = LinearSVC(C=0.1, dual=False, intercept_scaling=100, tol=1e-8)
    peer.fit(features, truth, compute_sample_weight(weights, truth))
    assert ours.coef_ == pytest.approx(peer.coef_, abs=2e-3)
    assert ours.intercept_ == pytest.approx(peer.intercept_, abs=2e-3)
    assert (ours.predict(features) == peer.predict(features)).mean() > 0.99


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(sigmoids=np.zeros((2, 9))),
        lambda d: vars(d["pipeline"][-1]).update(coef_=np.zeros((3, 9))),
        lambda d: vars(d["pipeline"][-1]).update(intercept_=np.zeros(1)),
    ],
)
def test_a_linear_svm_whose_parts_do_not_fit_is_refused(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    monkeypatch.setattr(svm_fit, "EXACT", 50)
    fit(FitOptions(blobs, tmp_path / "s.joblib", "linear", folds=0))
    document = joblib.load(tmp_path / "s.joblib")
    spoil(document)
    joblib.dump(document, tmp_path / "s.joblib")
    content = (tmp_path / "s.joblib").read_bytes()
    (tmp_path / "s.joblib").write_bytes(seal(content, PICKLE))
    with pytest.raises(ModelError, match="do not fit together"):
        load(tmp_path / "s.joblib")


def test_a_table_of_labels_counts_before_the_folders(blobs: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "path,label\n" + "".join(f"{'abc'[i % 3]}/{i}.jpg,{'xy'[i % 2]}\n" for i in range(60))
    )
    svm, report = fit(FitOptions(blobs, tmp_path / "s.joblib", labels=tmp_path / "l.csv"))
    assert (svm.classes, report.images) == (["x", "y"], 60)
    (tmp_path / "none.csv").write_text("path,label\nelsewhere.jpg,x\n")
    with pytest.raises(UsageError, match="labels none of the images"):
        fit(FitOptions(blobs, tmp_path / "t.joblib", labels=tmp_path / "none.csv"))


def test_rare_classes_are_cross_validated_as_far_as_they_go(tmp_path: Path) -> None:
    blobs = write_blobs(tmp_path / "blobs", 7, seed=0)  # 3, 2 and 2
    _, report = fit(FitOptions(blobs, tmp_path / "s.joblib"))
    assert report.folds == 3
    single = write_blobs(tmp_path / "single", 4, seed=0)  # 2, 1 and 1
    with pytest.raises(UsageError, match="of 'b' there is one"):
        fit(FitOptions(single, tmp_path / "t.joblib", probability=True))
    one = write_blobs(tmp_path / "one", 3, seed=0)
    _, report = fit(FitOptions(one, tmp_path / "t.joblib"))
    assert (report.folds, report.accuracy) == (0, None)
    with pytest.raises(UsageError, match="--folds 1: give 0 for none, or from 2 to 100"):
        FitOptions(blobs, folds=1)
    with pytest.raises(UsageError, match="--folds 2"):
        fit(FitOptions(blobs, tmp_path / "u.joblib", search=True, folds=0))


def test_a_report_that_exists_is_kept(blobs: Path, tmp_path: Path) -> None:
    (tmp_path / "s.report.json").write_text("precious")
    with pytest.raises(UsageError, match="--force"):
        fit(FitOptions(blobs, tmp_path / "s.joblib"))
    assert not (tmp_path / "s.joblib").exists()


def test_a_run_gives_probabilities_and_a_tally(
    night: Night, model_file: Path, pictures: Path, tmp_path: Path, boatinfer: Command
) -> None:
    summary = night(features=True)
    assert summary.svm_labels == {}
    out, svm = tmp_path / "out", tmp_path / "s.joblib"
    fit(FitOptions(out, svm, probability=True))
    done = boatinfer("run", pictures, "-o", out, "-m", model_file, "--svm", svm)
    assert "the SVM says:\n        4  blue\n        4  green\n" in done.out
    said = json.loads((out / "run.json").read_text())["svm_labels"]
    assert said == {"blue": 4, "green": 4, "red": 4}
    scores = [float(row["svm_score"]) for row in rows(out)]
    assert all(1 / 3 < score <= 1 for score in scores)


def test_a_folder_of_images_stands_for_its_default_results_everywhere(
    night: Night,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    boatinfer: Command,
) -> None:
    monkeypatch.chdir(tmp_path)
    night(out=None, features=True)
    for words in [
        ("results", "pictures"),
        ("report", "pictures"),
        ("features", "pictures", "-o", "x.npz"),
        ("svm", "fit", "pictures", "-o", "s.joblib"),
        ("svm", "compare", "pictures"),
        ("evaluate", "pictures"),
        ("compare", "pictures", "boatinfer-out/pictures"),
        ("similar", "pictures", "--duplicates"),
    ]:
        done = boatinfer(*words)
        assert done.code == 0, done
    assert f"images from {pictures}" in boatinfer("results", "pictures").out
