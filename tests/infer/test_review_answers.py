"""Answers of ``boatinfer review``: whose they are, of which images, and what takes them back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import colours
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.labels import LABELS, Answer, LabelFile, read_labels
from boatinfer.review.options import ReviewOptions
from reviewing import Client, Review, reviewing


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run over two scenes, each of twelve nearly equal frames, all unsure."""
    folder = tmp_path_factory.mktemp("answers")
    (folder / "in").mkdir()
    for scene in range(2):
        pixels = np.random.default_rng(scene).integers(0, 255, (6, 8, 3)).astype(np.uint8)
        big = np.asarray(Image.fromarray(pixels).resize((320, 240), Image.Resampling.NEAREST))
        for frame in range(12):
            noisy = big.astype(int) + np.random.default_rng(frame).integers(-3, 4, big.shape)
            picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
            picture.save(folder / "in" / f"s{scene}-{frame:02}.jpg")
    model = colours.write_model(folder / "colours.onnx")
    run(RunOptions(folder / "in", folder / "out", model, min_confidence=1.0))
    return folder / "out"


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def review(out: Path) -> Iterator[Review]:
    with reviewing(ReviewOptions(out, name="ann")) as review:
        yield review


def _rows(question: dict[str, Any]) -> list[int]:
    return [image["row"] for image in question["images"]]


def _group(client: Client) -> dict[str, Any]:
    """A question of several images."""
    return next(one for one in client.questions("unsure") if len(one["images"]) > 2)


def _post(client: Client, request: str, rows: list[int], label: str) -> Any:
    return client.post("/answer", {"request": request, "rows": rows, "label": label})


def _said(out: Path) -> dict[str, str]:
    """What counts, by path: person and label."""
    answers = read_labels(out / LABELS).answers.values()
    return {answer.path: f"{answer.by}: {answer.label}" for answer in answers}


def test_undo_leaves_what_somebody_else_has_said_since(review: Review, out: Path) -> None:
    client = review.client()
    group = _group(client)
    _post(client, "1", _rows(group), "red")
    first, second, *_ = read_labels(out / LABELS).answers.values()
    bob = Answer(first.path, first.content, "green", by="bob", when=first.when)
    LabelFile(out).append([bob])
    reply = client.post("/undo", {})
    assert reply["kept"] == 1
    assert _said(out) == {first.path: "bob: green"}
    assert reply["open"][0]["path"] == second.path
    assert len(reply["open"][0]["images"]) == len(group["images"]) - 1


def test_who_answers_second_changes_nothing_and_is_told(review: Review, out: Path) -> None:
    client = review.client()
    group = _group(client)
    with reviewing(ReviewOptions(out, name="bob")) as other:
        theirs = other.client()
        theirs.questions("unsure")
        assert _post(theirs, "1", _rows(group)[:1], "green")["kept"] == 0
        reply = _post(client, "1", _rows(group), "red")  # before it has heard of that
        assert (reply["kept"], reply["saved"]) == (1, len(group["images"]) - 1)
    path = group["images"][0]["path"]
    assert _said(out).pop(path) == "bob: green"
    assert client.post("/undo", {})["kept"] == 0
    assert _said(out) == {path: "bob: green"}


@pytest.mark.parametrize("place", [0, 1])
def test_only_the_image_that_was_left_out_is_asked_again(
    review: Review, out: Path, place: int
) -> None:
    client = review.client()
    group = _group(client)
    rows = _rows(group)
    left = rows.pop(place)
    (again,) = _post(client, "1", rows, "red")["open"]
    assert (again["row"], _rows(again)) == (left, [left])
    assert again["path"] == group["images"][place]["path"]
    assert again in client.questions("unsure")  # the page was loaded again
    assert _post(client, "2", _rows(group), "blue")["kept"] == len(rows)
    said = _said(out)
    assert said.pop(again["path"]) == "ann: blue"
    assert set(said.values()) == {"ann: red"}
    back = client.post("/undo", {})["open"]
    assert back == [again]


def test_others_see_every_image_of_a_group_answered(review: Review) -> None:
    client = review.client()
    rows = _rows(_group(client))
    changes = _post(client, "1", rows, "red")["changes"]
    assert sorted(change["row"] for change in changes) == sorted(rows)


def test_only_the_random_sample_asks_for_its_images(review: Review, out: Path) -> None:
    client = review.client()
    sampled = {question["path"] for question in client.questions("random")}
    assert sampled
    listed = out.parent / "list.csv"
    paths = [f"s{scene}-{frame:02}.jpg" for scene in range(2) for frame in range(12)]
    listed.write_text("\n".join(["path", *paths]) + "\n")
    (out / LABELS).write_text(
        "\n".join(["path,content,label", *(f"{path},{'0' * 32},red" for path in sampled), ""])
    )  # of a content that they had before
    with reviewing(ReviewOptions(out, suspects=listed)) as other:
        fresh = other.client()
        for reason in ("unsure", "suspect", "changed"):
            asked = {i["path"] for q in fresh.questions(reason) for i in q["images"]}
            assert not asked & sampled, reason
        assert {question["path"] for question in fresh.questions("random")} == sampled


def test_typed_classes_stay_in_the_order_in_which_they_came(review: Review) -> None:
    client = review.client()
    rows = _rows(_group(client))
    for number, label in enumerate(["zodiac", "ferry", "kayak"]):
        reply = _post(client, str(number), [rows[number]], label)
    assert reply["classes"] == [*colours.CLASSES, "zodiac", "ferry", "kayak"]
    client.post("/undo", {})
    client.post("/undo", {})
    assert _post(client, "9", [rows[1]], "barge")["classes"][-3:] == ["ferry", "kayak", "barge"]


def test_another_spelling_of_a_class_is_offered_the_known_one(review: Review, out: Path) -> None:
    client = review.client()
    rows = _rows(_group(client))
    _post(client, "1", rows[:1], "Kayak")
    for typed, known in (("kayak", "Kayak"), ("RED", "red")):
        reply = _post(client, "2", rows[1:], typed)
        assert reply == {"error": f"there is the class {known} already; press its button instead."}
    assert set(_said(out).values()) == {"ann: Kayak"}
