"""``boatinfer review`` without a browser: what is asked, what is recorded, who may ask."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import colours
from boatinfer.errors import OutputError, UsageError
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.labels import LABELS, Answer, LabelFile, read_labels
from boatinfer.results.summary import Summary
from boatinfer.review.candidates import Candidates
from boatinfer.review.options import ReviewOptions
from reviewing import Client, Review, reviewing
from support import Command, rows

HOSTILE = ["<img src=x onerror=alert(1)>.jpg", "two\nlines.jpg", "=cmd().jpg", "\u202egpj.jpg"]


def _results(folder: Path) -> None:
    """A run over hostile names, a TIFF and a broken image, in ``out`` beside its pictures."""
    pictures = folder / "in"
    colours.write_pictures(pictures, each=12)
    for number, name in enumerate(HOSTILE):
        (pictures / name).write_bytes(colours.picture("red", 50 + number))
    (pictures / "t.tif").write_bytes(colours.picture("blue", 9, form="TIFF"))
    (pictures / "bad.jpg").write_bytes(b"\xff\xd8\xffnothing")
    model = colours.write_model(folder / "colours.onnx")
    run(RunOptions(pictures, folder / "out", model, features=True, max_failures="100%"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a model, and the results of a run."""
    folder = tmp_path_factory.mktemp("finished")
    _results(folder)
    return folder


@pytest.fixture
def reviewed(tmp_path: Path, finished: Path) -> Iterator[Review]:
    """A review of a copy of these results."""
    shutil.copytree(finished / "out", tmp_path / "out")
    with reviewing(ReviewOptions(tmp_path / "out", name="ann")) as review:
        yield review


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Review]:
    """A review of such results, whose pictures may be changed."""
    _results(tmp_path)
    with reviewing(ReviewOptions(tmp_path / "out", name="ann")) as review:
        yield review


def _ask_all(client: Client, *more: str) -> list[dict[str, Any]]:
    reasons = ("unsure", "rare", *more, "random", "rest")
    return [question for reason in reasons for question in client.questions(reason)]


def test_every_image_is_asked_for_once(reviewed: Review, tmp_path: Path) -> None:
    questions = _ask_all(reviewed.client())
    asked = [image["path"] for question in questions for image in question["images"]]
    images = [row["path"] for row in rows(tmp_path / "out", "predictions.csv")]
    assert len(asked) == len(set(asked)) == 41
    assert {path.removeprefix("./") for path in images} - set(asked) == {"bad.jpg"}


def test_an_answer_is_one_line_and_undo_is_another(reviewed: Review, tmp_path: Path) -> None:
    client = reviewed.client()
    first, second = client.questions("unsure")[:2]
    row = first["row"]
    reply = client.post("/answer", {"request": "1", "rows": [row], "label": "yacht", "since": 0})
    assert reply["changes"] == [{"row": row, "label": "yacht", "by": "ann"}]
    assert reply["classes"] == [*colours.CLASSES, "yacht"]
    client.post("/answer", {"request": "1", "rows": [row], "label": "yacht"})  # sent again
    client.post("/answer", {"request": "2", "rows": [second["row"]], "label": "(cannot tell)"})
    (answer, other) = read_labels(tmp_path / "out" / LABELS).answers.values()
    assert (answer.path, answer.label, answer.by) == (first["path"], "yacht", "ann")
    assert (answer.shown_label, answer.reason) == (first["guesses"][0][0], "unsure")
    assert other.label == "(cannot tell)"
    for expected in ({answer.content}, set()):
        client.post("/undo", {})
        assert set(read_labels(tmp_path / "out" / LABELS).answers) == expected
    assert client.post("/undo", {}) == {"error": "there is no answer of this session left to undo."}
    assert (tmp_path / "out" / LABELS).read_text().count("\n") == 5


@pytest.mark.parametrize(
    "label", ["", " ", "(x)", "a\nb", "x" * 101, "a/b", ".a", "..", "Unsure", "unknown", "Several"]
)
def test_what_is_no_class_is_refused(reviewed: Review, tmp_path: Path, label: str) -> None:
    client = reviewed.client()
    row = client.questions("unsure")[0]["row"]
    reply = client.post("/answer", {"request": "1", "rows": [row], "label": label})
    assert "a class must have 1 to 100 printable characters" in reply["error"]
    for rows_ in ([], [10**6], [row, 10**6]):
        reply = client.post("/answer", {"request": "2", "rows": rows_, "label": "red"})
        assert "there is no such question" in reply["error"]
    assert not (tmp_path / "out" / LABELS).exists()


def test_two_people_see_each_others_answers(reviewed: Review, tmp_path: Path) -> None:
    one = reviewed.client()
    question = one.questions("unsure")[0]
    with reviewing(ReviewOptions(tmp_path / "out", name="bob")) as other:
        two = other.client()
        assert two.questions("unsure")[0]["row"] == question["row"]
        two.post("/answer", {"request": "1", "rows": [question["row"]], "label": "green"})
        news = one.get("/news?since=0")
        assert news["changes"] == [{"row": question["row"], "label": "green", "by": "bob"}]
        assert one.get(f"/news?since={news['since']}")["changes"] == []
        assert question["row"] not in [q["row"] for q in one.questions("unsure")]
        two.post("/undo", {})
        assert one.get("/news?since=1")["changes"] == [
            {"row": question["row"], "label": "", "by": ""}
        ]
        assert one.questions("unsure")[0]["row"] == question["row"]


def test_reviewed_images_do_not_come_back_and_changed_ones_do(own: Review, tmp_path: Path) -> None:
    client, folder = own.client(), tmp_path / "in"
    questions = [q for q in _ask_all(client) if "/" in q["path"]][:3]
    for number, question in enumerate(questions):
        client.post(
            "/answer", {"request": str(number), "rows": [question["row"]], "label": "green"}
        )
    moved, changed, _ = (folder / question["path"] for question in questions)
    moved.rename(folder / "moved.jpg")
    changed.write_bytes(colours.picture("blue", 777))
    run(RunOptions(folder, tmp_path / "out", tmp_path / "colours.onnx", max_failures="100%"))
    with reviewing(ReviewOptions(tmp_path / "out", everything=True)) as again:
        fresh = again.client()
        questions_ = _ask_all(fresh, "changed")
        asked = {one["path"]: q["reason"] for q in questions_ for one in q["images"]}
    assert not {"moved.jpg", questions[2]["path"]} & set(asked)
    assert asked[questions[1]["path"]] == "Changed since it was labelled"
    table = {row["path"]: row for row in rows(tmp_path / "out", "predictions.csv")}
    assert list(table["moved.jpg"])[-1] == "reviewed"
    labelled = {path for path, row in table.items() if row["reviewed"] == "green"}
    assert labelled == {"moved.jpg", questions[2]["path"]}
    assert {row["reviewed"] for path, row in table.items() if path not in labelled} == {""}


def test_near_identical_frames_are_one_question(tmp_path: Path) -> None:
    pictures = tmp_path / "in"
    pictures.mkdir()
    for scene in range(2):
        pixels = np.random.default_rng(scene).integers(0, 255, (6, 8, 3)).astype(np.uint8)
        big = np.asarray(Image.fromarray(pixels).resize((320, 240), Image.Resampling.NEAREST))
        for frame in range(5):
            noisy = big.astype(int) + np.random.default_rng(frame).integers(-3, 4, big.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
                pictures / f"s{scene}-{frame}.jpg"
            )
    model = colours.write_model(tmp_path / "colours.onnx")
    run(RunOptions(pictures, tmp_path / "out", model, min_confidence=1.0))
    with reviewing(ReviewOptions(tmp_path / "out")) as review:
        client = review.client()
        for number, question in enumerate(client.questions("unsure")):
            scenes = {image["path"][:2] for image in question["images"]}
            assert len(scenes) == 1
            group = [image["row"] for image in question["images"]]
            client.post("/answer", {"request": str(number), "rows": group, "label": "red"})
        sampled = client.questions("random")
        assert all(len(question["images"]) == 1 for question in sampled)
        answered = read_labels(tmp_path / "out" / LABELS).answers
        assert len(answered) + len(sampled) == 10
        assert number <= 3  # two scenes, of which the sample may cut one or two
    run(RunOptions(pictures, tmp_path / "out", model, min_confidence=1.0))
    listed = rows(tmp_path / "out", "review.csv")
    assert {row["path"] for row in listed} == {question["path"] for question in sampled}


def test_pictures_are_jpeg_of_every_format_and_broken_ones_end_nothing(
    own: Review, tmp_path: Path
) -> None:
    client = own.client()
    questions = _ask_all(client)
    (tiff,) = [question for question in questions if question["path"] == "t.tif"]
    for kind, width in (("image", 80), ("full", 80), ("small", 80)):
        status, data, headers = client.send(f"/{kind}/{tiff['row']}")
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        assert Image.open(io.BytesIO(data)).size[0] == width
    other = next(q for q in questions if q["path"].startswith("red/"))
    (tmp_path / "in" / other["path"]).write_bytes(b"\xff\xd8\xff broken")
    assert client.send(f"/full/{other['row']}")[0] == 404
    assert client.send(f"/full/{tiff['row']}")[0] == 200


def test_no_path_leads_out_of_the_folder(reviewed: Review) -> None:
    client = reviewed.client()
    for path in (
        "/image/999999",
        "/image/-1",
        "/image/../../etc/passwd",
        "/image/%2e%2e",
        "/x",
        "/review.html",
        "/training/0",
        "/full/0/../1",
        "//etc/passwd",
    ):
        assert client.send(path)[0] == 404, path
    table = pa.table({"path": ["../up.jpg", "/etc/x.jpg", "a/../../b.jpg", "in/side.jpg"]})
    summary = Summary(run="1", folder="/f", started="2026-01-01T00:00:00+00:00")
    candidates = Candidates(summary, table, False)
    assert [candidates.may_show(row) for row in range(4)] == [False, False, False, True]


def test_a_link_works_once(reviewed: Review) -> None:
    link = reviewed.links[-1].partition(str(reviewed.server.port))[2]
    nobody = Client(reviewed.server)
    assert nobody.send("/")[0] == 403
    status, _, headers = nobody.send(link)
    assert (status, headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict"} <= set(headers["set-cookie"].split("; "))
    status, data, _ = nobody.send(link)
    assert status == 403
    assert b"open the latest one" in data
    assert nobody.send("/?token=")[0] == nobody.send("/?token=%ff")[0] == 403
    assert nobody.send(reviewed.links[-1].partition(str(reviewed.server.port))[2])[0] == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost:1@evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Cookie": None},
        {"Cookie": "boatinfer-review-1=x"},
    ],
)
def test_other_pages_can_neither_read_nor_write(
    reviewed: Review, tmp_path: Path, headers: dict[str, str | None]
) -> None:
    client = reviewed.client()
    row = client.questions("unsure")[0]["row"]
    body = {"request": "1", "rows": [row], "label": "red"}
    assert client.send("/answer", body, **headers)[0] == 403
    assert client.send("/news", **headers)[0] == 403
    assert not (tmp_path / "out" / LABELS).exists()


@pytest.mark.parametrize(
    "headers", [{"X_Review": None}, {"X_Review": "x"}, {"X_Review": "\xff"}, {"Origin": None}]
)
def test_writing_needs_the_secret_of_the_page(
    reviewed: Review, tmp_path: Path, headers: dict[str, str | None]
) -> None:
    client = reviewed.client()
    row = client.questions("unsure")[0]["row"]
    body = {"request": "1", "rows": [row], "label": "red"}
    assert client.send("/answer", body, **headers)[0] == 403
    assert client.send("/answer", body, Content_Type="text/plain")[0] == 415
    for data in (
        b"",
        b"[]",
        b"{",
        b"x" * 70_000,
        b'{"rows": [true], "label": "a", "request": "b"}',
    ):
        assert client.send("/answer", data)[0] == 400
    assert not (tmp_path / "out" / LABELS).exists()


def test_every_answer_forbids_what_the_page_does_not_need(reviewed: Review) -> None:
    client = reviewed.client()
    for path in ("/", "/review.js", "/news", "/image/0", "/nothing"):
        headers = client.send(path)[2]
        assert headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    page = client.send("/")[1].decode()
    assert page.count("<script") == 1
    assert " style=" not in page


def test_an_answer_that_cannot_be_saved_says_so(
    reviewed: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = reviewed.client()
    row = client.questions("unsure")[0]["row"]

    def full(*_: Any) -> None:
        raise OutputError("labels.csv could not be written: No space left on device; make room.")

    with monkeypatch.context() as context:
        context.setattr(LabelFile, "append", full)
        status, data, _ = client.send("/answer", {"request": "1", "rows": [row], "label": "red"})
        assert status == 500
        assert b"No space left on device" in data
    client.post("/answer", {"request": "1", "rows": [row], "label": "red"})
    assert len(read_labels(tmp_path / "out" / LABELS).answers) == 1


def test_a_folder_of_other_labels_is_named(reviewed: Review, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    LabelFile(tmp_path / "copy").append([Answer("x.jpg", "0" * 32, "red")])
    with reviewing(ReviewOptions(tmp_path / "copy")) as review:
        client = review.client()
        client.questions("random")  # waits until all is known
        (problem,) = client.get("/news")["problems"]
    assert "None of the 1 labels" in problem
    assert "is the file from another one?" in problem


def test_wrong_requests_of_the_command_line_are_one_sentence(
    boatinfer: Command, tmp_path: Path, reviewed: Review
) -> None:
    out = tmp_path / "out"
    for arguments, said in [
        ((tmp_path / "none",), "there is no folder"),
        ((out, "--port", str(reviewed.server.port)), "give another --port"),
        ((out, "--name", ""), "an argument is empty"),
        ((out, "--list", tmp_path / "none.csv"), "cannot be read"),
        ((out, "--list", out / "run.json"), "is no list of images"),
        ((out, "--train", tmp_path / "none"), "there is no folder"),
    ]:
        done = boatinfer("review", *arguments)
        assert (done.code, done.err.count("\n")) == (2, 1), done
        assert said in done.err
    with pytest.raises(UsageError, match="printable"):
        ReviewOptions(out, name="a\nb")


def test_nearest_training_images_are_shown(
    reviewed: Review, finished: Path, tmp_path: Path
) -> None:
    colours.write_pictures(tmp_path / "train", each=4)
    run(RunOptions(tmp_path / "train", tmp_path / "t", finished / "colours.onnx", features=True))
    with reviewing(ReviewOptions(tmp_path / "out", train=tmp_path / "t")) as review:
        client = review.client()
        for question in client.questions("unsure"):
            labels = [near["label"] for near in question["nearest"]]
            assert labels == [question["guesses"][0][0]] * 4
            row = question["nearest"][0]["row"]
            assert client.send(f"/training/{row}")[0] == 200


def test_the_answers_are_the_truth_of_evaluate(
    boatinfer: Command, reviewed: Review, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert "holds no answers" in boatinfer("evaluate", out, "--labels").err
    client = reviewed.client()
    questions = client.questions("random")
    for number, question in enumerate(questions):
        label = "green" if number == 0 else question["guesses"][0][0]
        client.post("/answer", {"request": str(number), "rows": [question["row"]], "label": label})
    shown = client.get("/news?since=0")["estimate"]
    assert f"from a random sample of {len(questions)}" in shown
    wrong = questions[0]["guesses"][0][0] != "green"
    for arguments in (("--labels",), ("--reviewed",), ("--labels", out / LABELS)):
        done = boatinfer("evaluate", out, *arguments, "--json")
        document = json.loads(done.out)
        sample = document["sample"]["new"]
        assert (sample["images"], sample["labelled"]) == (41, len(questions))
        assert (
            sample["correct"]
            == len(questions) - wrong
            == document["network"]["accuracy"] * len(questions)
        )
        assert len(document["sample"]["weeks"]) == 1
    assert shown in boatinfer("evaluate", out, "--labels").out
    LabelFile(tmp_path / "out").path.unlink()
    LabelFile(out).append([Answer("x.jpg", "0" * 32, "red")])
    done = boatinfer("evaluate", out, "--labels")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "they are of another folder, or the images have changed since" in done.err
