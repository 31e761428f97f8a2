from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from blobs import write_blobs
from boatinfer.errors import OutputError, UsageError
from boatinfer.results.find import find_results
from boatinfer.svm.compare import compare
from boatinfer.svm.labelled import labelled_features
from boatinfer.svm.options import SVMCompareOptions
from support import Command


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """Results of 150 images."""
    return write_blobs(tmp_path / "train", 150, seed=0)


@pytest.fixture
def test(tmp_path: Path) -> Path:
    """Results of 60 others of the same classes."""
    return write_blobs(tmp_path / "test", 60, seed=1)


def test_figures_on_other_images_are_those_of_scikit_learn(train: Path, test: Path) -> None:
    found = compare(SVMCompareOptions(train, test, network=True))
    network, *svms = found.rows
    assert (network.accuracy, network.macro_f1, network.fit_seconds) == (1, 1, None)
    assert network.predict_seconds == pytest.approx(1 / 100)
    known, new = (labelled_features(find_results(out), None) for out in (train, test))
    for svm, kernel in zip(svms, ["linear", "rbf"], strict=True):
        pipeline = make_pipeline(StandardScaler(), SVC(kernel=kernel, break_ties=True))
        predicted = pipeline.fit(known.features, known.truth).predict(new.features)
        assert svm.accuracy == pytest.approx((predicted == new.truth).mean())
        assert svm.macro_f1 == pytest.approx(f1_score(new.truth, predicted, average="macro"))
        assert svm.interval[0] < svm.accuracy < svm.interval[1]
        assert svm.images == 60
    assert not found.warning


def test_without_other_images_it_warns_of_flattery(train: Path, boatinfer: Command) -> None:
    done = boatinfer("svm", "compare", train, "--network")
    assert done.code == 0
    assert "5-fold cross-validation" in done.out
    assert "are too high; --test OUT" in done.out
    assert [line.split()[0] for line in done.out.splitlines()[2:5]] == ["network", "linear", "RBF"]


def test_a_search_and_a_picture(
    train: Path, test: Path, tmp_path: Path, boatinfer: Command
) -> None:
    picture = tmp_path / "x.png"
    options = ("--test", test, "--search", "-o", picture, "--json")
    done = boatinfer("svm", "compare", train, *options)
    assert done.code == 0
    assert "(15 of 15)" in done.err
    assert len(json.loads(done.out)["classifiers"]) == 2
    with Image.open(picture) as image:
        assert np.asarray(image.convert("L")).std() > 10
    compare(SVMCompareOptions(train, test, network=True, output=tmp_path / "x.svg"))
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    assert boatinfer("svm", "compare", train, "-o", picture).code == 2  # it is there already


def test_what_cannot_be_compared_is_said(train: Path, tmp_path: Path) -> None:
    other = write_blobs(tmp_path / "other", 30, seed=1, model="beef")
    single = write_blobs(tmp_path / "single", 3, seed=1)
    for options, said in [
        (SVMCompareOptions(train, other), "made by two models"),
        (SVMCompareOptions(single), "one image of each class"),
        (SVMCompareOptions(tmp_path / "nowhere"), "there is no folder"),
        (SVMCompareOptions(train, tmp_path), "holds folders of results; give one"),
        (SVMCompareOptions(train, output=tmp_path / "x.txt"), r"\.png, \.svg"),
        (SVMCompareOptions(train, output=tmp_path / "no/x.png"), "does not exist"),
    ]:
        with pytest.raises(UsageError, match=said):
            compare(options)
    part = next((train / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(OutputError, match="is damaged"):
        compare(SVMCompareOptions(train))
