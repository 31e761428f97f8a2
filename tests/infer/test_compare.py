from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import colours
from boatinfer.analysis.compare import compare
from boatinfer.analysis.options import CompareOptions
from boatinfer.errors import OutputError, UsageError
from boatinfer.results.summary import Summary
from support import Command, rows

Night = Callable[..., Summary]


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """A model that calls green pictures blue, and blue ones violet."""
    return colours.write_model(
        tmp_path / "other.onnx", card=colours.card(name="other", classes=["red", "blue", "violet"])
    )


@pytest.fixture
def both(night: Night, tmp_path: Path, other_model: Path) -> CompareOptions:
    """Results of the two models over the same pictures."""
    night(out=tmp_path / "a")
    night(out=tmp_path / "b", model=other_model)
    return CompareOptions(tmp_path / "a", tmp_path / "b")


def test_agreement_and_confusion_are_those_of_the_labels(both: CompareOptions) -> None:
    found = compare(both)
    document = json.loads(json.dumps(found.document()))
    assert document["images"] == 12
    assert document["agreement"] == pytest.approx(4 / 12)
    assert document["classes"] == ["red", "green", "blue", "violet"]
    assert document["confusion"] == [[4, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 4], [0, 0, 0, 0]]
    assert [(of["a"], of["b"], of["images"]) for of in document["disagreements"]] == [
        ("green", "blue", 4),
        ("blue", "violet", 4),
    ]
    assert document["disagreements"][0]["paths"] == [f"green/00{i}.jpg" for i in range(4)]
    assert (document["a"]["model_name"], document["b"]["model_name"]) == ("colours", "other")


def test_who_is_right_where_the_truth_is_known(both: CompareOptions, tmp_path: Path) -> None:
    document = compare(both).document()
    assert (document["a"]["accuracy"], document["b"]["accuracy"]) == (1, pytest.approx(4 / 12))
    truth = {"images": 12, "both": 4, "a_alone": 8, "b_alone": 0, "neither": 0}
    assert document["truth"] == truth | {"mcnemar_p": pytest.approx(2 / 2**8)}

    names = [row["path"] for row in rows(both.one)]
    labels = tmp_path / "l.csv"
    labels.write_text("path,label\n" + "".join(f"{name},violet\n" for name in names[:6]))
    document = compare(CompareOptions(both.one, both.other, labels)).document()
    truth = {"images": 6, "both": 0, "a_alone": 0, "b_alone": 4, "neither": 2}
    assert document["truth"] == truth | {"mcnemar_p": pytest.approx(2 / 2**4)}


def test_only_the_same_images_are_compared(
    both: CompareOptions, night: Night, pictures: Path, other_model: Path
) -> None:
    first = json.loads((both.other / "run.json").read_text())
    (both.other / f"runs/{first['run']}x.json").write_text("{")  # a damaged one is passed over
    night(out=both.other, model=other_model)
    assert compare(both).speeds[1] == first["images_per_second"]
    (pictures / "red/new.jpg").write_bytes(colours.picture("red", seed=50))
    (pictures / "red/000.jpg").unlink()
    (pictures / "red/001.jpg").write_bytes(colours.picture("green", seed=51))
    (pictures / "red/002.jpg").write_text("hello")
    night(out=both.other, model=other_model, max_failures="1")
    found = compare(both)
    assert len(found.agreement.truth) == 9
    assert (found.unmatched, found.changed) == ((2, 1), 1)


def test_from_the_command_line(
    boatinfer: Command, both: CompareOptions, night: Night, pictures: Path, tmp_path: Path
) -> None:
    said = boatinfer("compare", both.one, both.other).out
    assert re.search(r"  green in A, blue in B: 4, such as\n    green/000\.jpg\n", said)
    assert "agreement: 0.333" in said
    assert "unlikely to be chance (McNemar's exact test: p = 0.007812)." in said.splitlines()[0]
    assert json.loads(boatinfer("compare", both.one, both.other, "--json").out)["images"] == 12
    same = boatinfer("compare", both.one, both.one).out
    assert "agreement: 1.000" in same
    assert "Confusion" not in same
    assert same.startswith("A and B are equally accurate: ")
    night(folder=pictures / "red", out=tmp_path / "flat")
    said = boatinfer("compare", tmp_path / "flat", tmp_path / "flat").out
    assert "The true classes are unknown" in said


def test_what_cannot_be_compared_is_said(
    both: CompareOptions, night: Night, pictures: Path, tmp_path: Path
) -> None:
    def fails(other: Path, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            compare(CompareOptions(both.one, other))

    fails(tmp_path / "nowhere", "there is no folder")
    night(folder=pictures / "red", out=tmp_path / "red")
    fails(tmp_path / "red", "no image in common")
    letters = colours.write_model(tmp_path / "abc.onnx", card=colours.card(classes=list("abc")))
    night(out=tmp_path / "letters", model=letters)
    fails(tmp_path / "letters", r"no class in common \(red, \.\.\. and a, \.\.\.\)")
    for picture in pictures.rglob("*.jpg"):
        picture.write_bytes(colours.picture("red", seed=100))
    night(out=tmp_path / "changed")
    fails(tmp_path / "changed", "no image of the same content")
    (part,) = (both.one / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-50])
    with pytest.raises(OutputError, match="damaged"):
        compare(both)
