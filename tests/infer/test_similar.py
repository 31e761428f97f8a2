from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import colours
from boatinfer.analysis.options import Metric, SimilarOptions
from boatinfer.analysis.similar import duplicates, nearest, pairs, similar
from boatinfer.errors import BoatinferError, ModelError, OutputError, UsageError
from boatinfer.models.model import open_model
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.summary import Summary
from support import Command

Night = Callable[..., Summary]


@pytest.fixture
def out(night: Night, pictures: Path, tmp_path: Path) -> Path:
    """Results in several parts, with an image that has gone and one that failed."""
    (pictures / "gone.jpg").write_bytes(colours.picture("red", seed=3))
    (pictures / "bad.jpg").write_text("hello")
    night(features=True, max_failures="1")
    (pictures / "gone.jpg").unlink()
    (pictures / "=x.jpg").write_bytes(colours.picture("red", seed=99))
    night(features=True, max_failures="1")
    return tmp_path / "out"


@pytest.mark.parametrize("metric", list(Metric))
def test_the_nearest_are_those_of_the_model(
    out: Path, pictures: Path, model_file: Path, metric: Metric
) -> None:
    names = [p for p in sorted(pictures.rglob("*.jpg")) if p.name not in {"bad.jpg", "000.jpg"}]
    names += [pictures / colour / "000.jpg" for colour in ("green", "blue")]
    features = open_model(model_file).predict([pictures / "red/000.jpg", *names]).features
    assert features is not None
    query, others = features[0].astype(np.float64), features[1:].astype(np.float64)
    if metric is Metric.EUCLIDEAN:
        expected = np.linalg.norm(others - query, axis=1)
    else:
        lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(query)
        expected = 1 - others @ query / lengths
    order = np.argsort(expected)[:5]

    for image in (pictures / "red/000.jpg", Path("red/000.jpg")):
        found = nearest(image, out, 5, metric)
        assert found.compared == len(names) == 12
        assert found.matches["path"].to_pylist() == [
            names[place].relative_to(pictures).as_posix() for place in order
        ]
        assert found.matches["distance"].to_pylist() == pytest.approx(expected[order], abs=1e-6)
        assert found.matches["label"].to_pylist()[:4] == ["red"] * 4


def _all(image: Path, out: Path, model: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = nearest(image, out, model=model).matches.to_pylist()
    return found


def test_an_image_from_elsewhere_needs_the_model(
    out: Path, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copy(pictures / "blue/001.jpg", tmp_path / "copy.jpg"))
    found = nearest(copy, out, 1).matches.to_pylist()  # known by its content, with no model
    assert found == [{"path": "blue/001.jpg", "label": "blue", "distance": 0}]
    copy.write_bytes(colours.picture("blue", seed=77))
    expected = open_model(model_file).predict([pictures / "blue/001.jpg", copy]).features
    assert expected is not None
    row = next(r for r in _all(copy, out, model_file) if r["path"] == "blue/001.jpg")
    assert row["distance"] == pytest.approx(np.linalg.norm(expected[0] - expected[1]), abs=1e-6)
    with pytest.raises(
        ModelError, match=r"the built-in model is not the model of these results, colours \("
    ):
        nearest(copy, out)
    copy.write_text("hello")
    with pytest.raises(UsageError, match=r"copy\.jpg"):
        nearest(copy, out, model=model_file)


def test_a_copy_of_any_image_of_the_results_is_known_by_its_content(
    out: Path, pictures: Path, tmp_path: Path
) -> None:
    for image in sorted(pictures.rglob("*.jpg")):
        if image.name != "bad.jpg":
            copy = Path(shutil.copy(image, tmp_path / "copy.jpg"))
            (found,) = nearest(copy, out, 1).matches.to_pylist()  # with no model
            assert (found["path"], found["distance"]) == (
                image.relative_to(pictures).as_posix(),
                0,
            )


def test_twenty_are_found_unless_it_is_told_otherwise() -> None:
    assert SimilarOptions([Path("a.jpg"), Path("out")]).k == 20
    for function in (nearest, duplicates):
        assert inspect.signature(function).parameters["k"].default == 20


def test_pairs_give_the_matrix(out: Path, pictures: Path, model_file: Path) -> None:
    images = [Path("=x.jpg"), pictures / "green/002.jpg", Path("blue/003.jpg")]
    found = pairs(out, images)
    features = open_model(model_file).predict([pictures / image for image in images]).features
    assert features is not None
    expected = np.linalg.norm(features[:, None] - features[None], axis=2)
    assert found.distances == pytest.approx(expected, abs=1e-6)


def test_duplicates_are_copies_and_the_closest_of_the_rest(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    shutil.copy(pictures / "red/000.jpg", pictures / "blue/copy.jpg")
    shutil.copy(pictures / "red/000.jpg", pictures / "again.jpg")
    night(features=True)
    found = duplicates(tmp_path / "out", 1000)
    assert found.copies == [["again.jpg", "blue/copy.jpg", "red/000.jpg"]]
    closest = found.closest.to_pylist()
    assert len(closest) == 12 * 11 // 2
    assert [row["distance"] for row in closest] == sorted(row["distance"] for row in closest)
    named = {name for row in closest for name in (row["path"], row["other"])}
    assert len(named & set(found.copies[0])) == 1
    assert min(row["distance"] for row in closest) > 0


def test_closest_pairs_leave_out_classes_and_files_near_in_time(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted(pictures.rglob("*.jpg"))):
        os.utime(path, (10 * number, 10 * number))
    night(features=True)
    everything = duplicates(tmp_path / "out", 1000).closest.to_pylist()
    some = duplicates(tmp_path / "out", 1000, without=["red"], min_gap=30).closest.to_pylist()
    times = {str(p.relative_to(pictures)): p.stat().st_mtime for p in pictures.rglob("*.jpg")}
    wanted = [
        row
        for row in everything
        if not any(row[name].startswith("red/") for name in ("path", "other"))
        and abs(times[row["path"]] - times[row["other"]]) >= 30
    ]
    assert 0 < len(some) < len(everything)
    assert some == wanted
    with pytest.raises(UsageError, match="--without purple: the classes are red, green, blue"):
        duplicates(tmp_path / "out", without=["purple"])


def test_from_the_command_line(boatinfer: Command, out: Path, pictures: Path) -> None:
    said = boatinfer("similar", pictures / "red/000.jpg", out, "-k", 2).out.splitlines()
    assert said[0].endswith("among 12 images")
    assert [line.split()[0] for line in said[1:]] == ["class", "red", "red"]
    done = boatinfer("similar", out, "--pairs", "red/000.jpg", "red/001.jpg", "--json")
    assert json.loads(done.out)["distances"][0][0] == 0
    assert "content: none" in boatinfer("similar", out, "--duplicates", "-k", 3).out
    assert boatinfer("similar", out, "--duplicates", "-k", 0).code == 2


def test_what_cannot_be_compared_is_said(
    out: Path, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    run(RunOptions(pictures / "red", tmp_path / "bare", model_file))
    image = pictures / "red/000.jpg"
    for paths, options, said in [
        ([image], {}, "one image and one results folder"),
        ([out, image], {}, "is no results folder"),
        ([image, tmp_path / "nowhere"], {}, "there is no folder"),
        ([image, tmp_path / "bare"], {}, "without features"),
        ([Path("typo.jpg"), out], {}, r"there is no image typo\.jpg"),
        ([out, out], {}, "is a folder; give an image"),
        ([out, image], {"pairs": True}, "two images or more"),
        ([out, image], {"duplicates": True}, "one results folder"),
        ([out], {"duplicates": True, "pairs": True}, "not both"),
        ([image, out], {"k": 0}, "k must be at least 1"),
    ]:
        with pytest.raises(BoatinferError, match=said):
            similar(SimilarOptions(paths, **options))  # type: ignore[arg-type]
    for part in (out / "parts").iterdir():
        part.write_bytes(part.read_bytes()[:-50])
    with pytest.raises(OutputError, match="is damaged"):
        similar(SimilarOptions([image, out]))


def test_nearest_to_vaporetti_are_vaporetti(mardct: Path, tmp_path: Path) -> None:
    run(RunOptions(mardct / "valid", tmp_path / "out", features=True))
    for image in sorted((mardct / "valid/VaporettoACTV").iterdir())[:10]:
        found = nearest(image, tmp_path / "out", 10).matches
        of_vaporetti = [path.startswith("VaporettoACTV/") for path in found["path"].to_pylist()]
        assert sum(of_vaporetti) >= 9
