from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score

import colours
from boatinfer.analysis.by_group import ByGroup
from boatinfer.analysis.evaluate import _listed, _svm_labels, evaluate
from boatinfer.analysis.evaluation import Evaluation
from boatinfer.analysis.options import EvaluateOptions
from boatinfer.errors import OutputError, UsageError
from boatinfer.models.model import open_model
from boatinfer.results.folder import Results
from boatinfer.results.summary import Summary
from boatinfer.svm.fit import fit
from boatinfer.svm.options import FitOptions
from support import Command, rows

Night = Callable[..., Summary]


@pytest.fixture
def out(night: Night, pictures: Path, tmp_path: Path) -> Path:
    """Results over 13 pictures, two of them in a wrong folder, one damaged."""
    (pictures / "red/000.jpg").rename(pictures / "green/wrong.jpg")
    (pictures / "green/000.jpg").rename(pictures / "red/wrong.jpg")
    (pictures / "red/bad.jpg").write_text("hello")
    night(max_failures="1")
    return tmp_path / "out"


def test_figures_are_those_of_scikit_learn(out: Path, model_file: Path, pictures: Path) -> None:
    network = evaluate(EvaluateOptions(out)).network
    assert network is not None
    images = sorted(p for p in pictures.rglob("*.jpg") if p.name != "bad.jpg")
    truth = [path.parent.name for path in images]
    probabilities = open_model(model_file).predict(images).probabilities
    predicted = np.array(colours.CLASSES)[probabilities.argmax(axis=1)].tolist()

    document = json.loads(json.dumps(network.document()))
    assert list(network.paths) == [str(path.relative_to(pictures)) for path in images]
    assert document["images"] == 12
    assert document["accuracy"] == pytest.approx(10 / 12)
    assert document["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    expected = confusion_matrix(truth, predicted, labels=colours.CLASSES)
    assert document["confusion"] == expected.tolist()
    for key, score in [("precision", precision_score), ("recall", recall_score), ("f1", f1_score)]:
        found = [document["classes"][name][key] for name in colours.CLASSES]
        assert found == pytest.approx(score(truth, predicted, labels=colours.CLASSES, average=None))
    places = [colours.CLASSES.index(name) for name in truth]
    second = (np.argsort(-probabilities, axis=1)[:, :2] == np.array(places)[:, None]).any(axis=1)
    assert document["top_k"] == {"1": pytest.approx(10 / 12), "2": pytest.approx(second.mean())}
    lower, upper = document["accuracy_interval"]
    assert lower < document["accuracy"] <= upper
    pairs = {(of["truth"], of["predicted"]): of["paths"] for of in document["confused"]}
    assert pairs == {("red", "green"): ["red/wrong.jpg"], ("green", "red"): ["green/wrong.jpg"]}
    assert sum(of["images"] for of in document["calibration"]) == 12
    assert document["risk_coverage"][-1]["coverage"] == 1
    assert document["risk_coverage"][-1]["accuracy"] == pytest.approx(10 / 12)


def test_the_text_tells_what_it_is_of(out: Path, boatinfer: Command) -> None:
    done = boatinfer("evaluate", out)
    assert done.code == 0
    first = done.out.splitlines()
    assert first[0].endswith("images of known class: 12")
    assert first[3].startswith("  accuracy           0.833  0.")
    assert first[4].startswith("  macro-F1")
    assert done.out.count("macro-F1") == 1
    for heading in ["By class, F1 with its 95 % interval", "Confusion matrix"]:
        assert f"\n{heading}" in done.out
    assert "  red predicted as green: 1\n    red/wrong.jpg\n" in done.out
    assert done.out.endswith("Left out: 1 that failed.\n")
    assert json.loads(boatinfer("evaluate", out, "--json").out)["network"]["images"] == 12


def test_a_table_of_labels_counts_before_the_folders(out: Path, tmp_path: Path) -> None:
    table = "path,label\n" + "".join(f"{r['path']},{r['label']}\n" for r in rows(out))
    (tmp_path / "l.csv").write_text(table.replace("blue/000.jpg,blue", "blue/000.jpg,"))
    found = evaluate(EvaluateOptions(out, tmp_path / "l.csv"))
    assert found.network is not None
    assert (len(found.network.truth), found.network.accuracy, found.unlabelled) == (11, 1, 1)


def test_unknown_and_absent_classes_are_named_and_not_counted(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "blue").rename(pictures / "violet")
    (pictures / "flat.jpg").write_bytes(colours.picture("red"))
    night()
    found = evaluate(EvaluateOptions(tmp_path / "out"))
    assert found.network is not None
    assert (len(found.network.truth), found.network.accuracy) == (8, 1)
    assert (found.unknown, found.unlabelled, found.network.absent) == ({"violet": 4}, 1, ["blue"])
    document = json.loads(json.dumps(found.document()))
    blue = document["network"]["classes"]["blue"]
    assert (blue["images"], blue["recall"], blue["recall_interval"]) == (0, None, None)
    said = found.text()
    assert "1 without a label; 4 of classes that the network does not know (violet 4)" in said
    assert "as wrong, the accuracy is 67 %" in said
    assert "There is no image of blue." in said


def test_the_svm_stands_beside_the_network(
    night: Night, pictures: Path, tmp_path: Path, boatinfer: Command
) -> None:
    night(features=True)
    fit(FitOptions(tmp_path / "out", tmp_path / "svm.joblib"))
    (pictures / "=blue").mkdir()
    (pictures / "blue/000.jpg").rename(pictures / "=blue/=1.jpg")
    night(svm=tmp_path / "svm.joblib")
    found = evaluate(EvaluateOptions(tmp_path / "out"))
    assert found.network is not None
    assert found.svm is not None
    assert (len(found.network.truth), found.network.accuracy) == (11, 1)
    assert found.svm.accuracy == pytest.approx(11 / 12)
    assert list(found.svm.confused()) == [("=blue", "blue", ["=blue/=1.jpg"])]
    assert found.svm.document()["images"] == 12
    assert re.search(r"  SVM +12 +0\.917", boatinfer("evaluate", tmp_path / "out").out)


def test_an_svm_of_classes_that_the_network_does_not_know_stands_alone(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    for colour in colours.CLASSES:
        (pictures / colour).rename(pictures / f"my {colour}")
    night(features=True)
    with pytest.raises(
        UsageError, match=r"none of the true classes \(my blue, my green and my red\)"
    ):
        evaluate(EvaluateOptions(tmp_path / "out"))
    fit(FitOptions(tmp_path / "out", tmp_path / "svm.joblib"))
    night(svm=tmp_path / "svm.joblib")
    found = evaluate(EvaluateOptions(tmp_path / "out"))
    assert found.network is None
    assert found.svm is not None
    assert found.svm.accuracy == 1
    assert "By class (SVM), F1" in found.text()


def test_a_folder_of_images_stands_for_its_default_results(
    night: Night, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="run 'boatinfer run pictures' first"):
        evaluate(EvaluateOptions(Path("pictures")))
    night(out=None)
    assert evaluate(EvaluateOptions(Path("pictures"))).network is not None
    (tmp_path / "other/pictures").mkdir(parents=True)
    with pytest.raises(UsageError, match="first"):
        evaluate(EvaluateOptions(Path("other/pictures")))


def test_what_cannot_be_evaluated_is_said(
    night: Night, pictures: Path, tmp_path: Path, boatinfer: Command
) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        evaluate(EvaluateOptions(tmp_path / "nowhere"))
    night(folder=pictures / "red", out=tmp_path / "flat")
    with pytest.raises(UsageError, match="in no class folders; give their true classes with"):
        evaluate(EvaluateOptions(tmp_path / "flat"))
    night(out=tmp_path / "damaged")
    (part,) = (tmp_path / "damaged/parts").iterdir()
    part.write_bytes(part.read_bytes()[:-50])
    with pytest.raises(OutputError, match="is damaged"):
        evaluate(EvaluateOptions(tmp_path / "damaged"))
    night()
    (tmp_path / "out/predictions.csv").write_text("path,svm_label\nred/000.jpg,red\n")
    with pytest.raises(OutputError, match="does not name every image"):
        evaluate(EvaluateOptions(tmp_path / "out"))
    (pictures / "red").rename(pictures / "broken")
    for image in pictures.rglob("*.jpg"):
        image.write_text("hello")
    night(max_failures="100%")
    with pytest.raises(UsageError, match="holds no classified images"):
        evaluate(EvaluateOptions(tmp_path / "out"))
    assert boatinfer("evaluate", tmp_path / "out").code == 2


def test_classes_of_any_name_and_number_can_be_told() -> None:
    from boatinfer.analysis.evaluation import Evaluation

    classes = ["\x1b[31mred", "日本", *map(str, range(60))]
    truth = np.arange(62)
    paths = np.array([f"{place}.jpg" for place in truth], object)
    said = Evaluation(classes, paths, truth, np.roll(truth, 1)).text()
    assert "\x1b" not in said
    assert "confusion matrix of 62 classes is in the --json output" in said


def test_paths_of_two_lines_are_read_wherever_a_block_of_the_table_ends(tmp_path: Path) -> None:
    names = [f"a\n{number}.jpg" for number in range(70_000)]  # several megabytes
    lines = "".join(f'"{name}",red,1,ok,no red,1\n' for name in names)
    header = "path,label,confidence,status,svm_label,svm_score\n"
    (tmp_path / "predictions.csv").write_text(header + lines)
    found = _svm_labels(Results(tmp_path))
    assert found is not None
    assert found["path"].to_pylist() == names
    assert set(found["svm_label"].to_pylist()) == {"no red"}


def test_a_sentence_names_five_classes_at_most() -> None:
    assert _listed("abcde") == "a, b, c, d and e"
    assert _listed("abcdefg") == "a, b, c, d, e and 2 more"


def test_figures_of_each_group_and_their_interval(
    out: Path, pictures: Path, tmp_path: Path, boatinfer: Command
) -> None:
    images = sorted(path for path in pictures.rglob("*.jpg") if path.name != "bad.jpg")
    cameras = ["a" if path.name == "wrong.jpg" else str(i % 3) for i, path in enumerate(images)]
    lines = [
        f"{path.relative_to(pictures)},{path.parent.name},{camera}"
        for path, camera in zip(images, cameras, strict=True)
    ]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label,camera", *lines]))
    arguments = ("evaluate", out, "--labels", table, "--by", "camera")
    document = json.loads(boatinfer(*arguments, "--json").out)["groups"]
    accuracies = {name: of["accuracy"] for name, of in document["groups"].items()}
    assert accuracies == {"0": 1, "1": 1, "2": 1, "a": 0}
    # Student's t with 3 degrees of freedom: 3.182 times the standard error of 0.25.
    assert document["accuracy"] == {"mean": 0.75, "low": 0, "high": 1}
    text = boatinfer(*arguments).out
    assert "By camera" in text
    assert "Mean accuracy of 4 groups: 0.750, 95 % interval over groups 0.000 to 1.000." in text
    one = evaluate(EvaluateOptions(out, by="..."))
    assert one.groups is not None
    done = boatinfer("evaluate", out, "--by", "day")
    assert (done.code, "--by day: 12 of 12 images have no date" in done.err) == (2, True)


def test_the_interval_over_groups_is_student_s() -> None:
    groups = {
        str(number): Evaluation(
            ["a", "b"],
            np.array(list("0123456789"), object),
            np.zeros(10, np.int64),
            np.array([0] * right + [1] * (10 - right)),
        )
        for number, right in enumerate([8, 9, 7, 8])
    }
    found = ByGroup("day", groups).interval(lambda evaluation: evaluation.accuracy)
    assert found == pytest.approx((0.8, 0.8 - 3.1824463 * 0.0408248, 0.8 + 3.1824463 * 0.0408248))
    assert ByGroup("day", {"0": groups["0"]}).interval(lambda of: of.accuracy) is None
