from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import colours
from boatinfer import images
from boatinfer.errors import (
    UsageError,
)
from boatinfer.models.device import Device
from boatinfer.models.model import Model, open_model
from boatinfer.models.session import open_session
from boatinfer.pipeline.classifier import Classifier, Loaded
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import Progress, run
from boatinfer.results.summary import Summary
from boatinfer.storage.listing import ListedFile
from support import counts, outcomes, rows


def test_every_picture_gets_its_row(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    summary = night()
    found = rows(tmp_path / "out")
    names = sorted(str(p.relative_to(pictures)) for p in pictures.rglob("*.jpg"))
    assert [row["path"] for row in found] == names
    assert list(found[0]) == [
        *("path", "label", "confidence", "second_label", "second_confidence", "status"),
        *("run", "new"),
    ]
    for row in found:
        pixels = images.read((pictures / row["path"]).read_bytes(), colours.SPEC)
        probabilities = colours.expected(pixels)
        best, second = (-probabilities).argsort()[:2]
        assert row["label"] == colours.CLASSES[best] == row["path"].split("/")[0]
        assert float(row["confidence"]) == pytest.approx(probabilities[best], abs=1e-4)
        assert row["second_label"] == colours.CLASSES[second]
        assert float(row["second_confidence"]) == pytest.approx(probabilities[second], abs=1e-4)
        assert row["status"] == "ok"
    assert counts(summary) == (12, 12, 0, 0)
    assert summary.labels == {"blue": 4, "green": 4, "red": 4}
    assert (summary.complete, summary.exit_code, summary.device) == (True, 0, "cpu")
    assert rows(tmp_path / "out", "failures.csv") == []


def test_run_json_is_the_summary_and_is_kept_per_run(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    first, second = night(), night()
    out = tmp_path / "out"
    written = json.loads((out / "run.json").read_text())
    assert written == json.loads((out / "runs" / f"{second.run}.json").read_text())
    assert written["reused"] == second.reused == 12
    assert set(written) == {
        *("run", "folder", "started", "finished", "seconds", "found", "classified", "reused"),
        *(
            "failed",
            "failures",
            "labels",
            "images_per_second",
            "model",
            "model_file",
            "device",
            "versions",
        ),
        *("svm_labels", "unsure", "min_confidence", "target_accuracy", "unknown", "max_novelty"),
        *("title", "language", "link_prefix", "gallery"),
        *("complete", "exit_code", "error", "model_name", "classes"),
        *("new", "gone", "model_change", "unusual", "stages", "threads", "training", "shards"),
        *("warnings", "unlisted", "restrictions", "remarks", "tables"),
        *("other_files", "system_folders", "digest"),
    }
    assert json.loads((out / "runs" / f"{first.run}.json").read_text())["classified"] == 12


def test_parts_hold_what_the_contract_says(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    (pictures / "broken.jpg").write_bytes(colours.picture("red")[:600])
    summary = night(features=True, max_failures="1")
    (part,) = (tmp_path / "out" / "parts").iterdir()
    table = pq.read_table(part)
    assert table.column_names == [
        *("path", "bytes", "mtime_ns", "content", "model", "run", "status", "since", "error"),
        *("label", "confidence", "probabilities", "features", "svm", "novelty"),
    ]
    for vectors in ("probabilities", "features", "svm"):
        assert str(table.schema.field(vectors).type) == "list<element: float>"
    assert table["svm"].null_count == table.num_rows
    found = {row["path"]: row for row in table.to_pylist()}
    status = (pictures / "red" / "000.jpg").stat()
    row = found["red/000.jpg"]
    assert (row["bytes"], row["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
    assert (row["model"], row["run"]) == (summary.model, summary.run)
    assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert row["confidence"] == pytest.approx(max(row["probabilities"]))
    pixels = images.read((pictures / "red" / "000.jpg").read_bytes(), colours.SPEC)
    assert np.allclose(row["features"], pixels.mean(axis=(0, 1)) / 255, atol=1e-5)
    broken = found["broken.jpg"]
    assert (broken["status"], broken["label"], broken["probabilities"]) == ("corrupt", None, None)


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 1), (2, 7), (5, 32)])
def test_threads_and_batches_change_nothing(
    night: Callable[..., Summary], tmp_path: Path, threads: int, batch_size: int
) -> None:
    night()
    night(out=tmp_path / "other", threads=threads, batch_size=batch_size)
    assert outcomes(tmp_path / "other") == outcomes(tmp_path / "out")


@pytest.mark.parametrize("top", [1, 3, 10])
def test_top_names_more_or_fewer_classes(
    night: Callable[..., Summary], tmp_path: Path, top: int
) -> None:
    night(top=top)
    columns = ["label", "confidence", "second_label", "second_confidence"]
    columns += ["third_label", "third_confidence"]
    assert list(rows(tmp_path / "out")[0]) == [
        "path",
        *columns[: 2 * min(top, 3)],
        "status",
        "run",
        "new",
    ]


def test_awkward_names_come_through(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    names = ["a b.jpg", "new\nline.jpg", 'quote".jpg', "comma,.jpg", "<script>.jpg", "é.jpg"]
    formulas = ["=cmd().jpg", "+1.jpg", "-1.jpg", "@x.jpg"]
    for name in [*names, *formulas]:
        (pictures / name).write_bytes(colours.picture("green"))
    (pictures / os.fsdecode(b"\xff.jpg")).write_bytes(colours.picture("green"))
    assert night().classified == 12 + 11
    found = {row["path"] for row in rows(tmp_path / "out")}
    assert {*names, *(f"./{name}" for name in formulas), "\\xff.jpg"} <= found
    assert "<script>.jpg" not in (tmp_path / "out" / "report.html").read_text()
    assert night().reused == 12 + 11


def test_each_trouble_has_its_reason_and_the_night_goes_on(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (pictures / "cut.jpg").write_bytes(colours.picture("red")[:500])
    (pictures / "empty.jpg").touch()
    (pictures / "text.jpg").write_text("hello")
    (pictures / "dangling.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(pictures / "pipe.jpg")
    (pictures / "huge.jpg").write_bytes(colours.picture("red") + bytes(5000))
    monkeypatch.setattr("boatinfer.images.files.MAX_BYTES", 5000)
    (pictures / "secret.jpg").write_bytes(colours.picture("red"))
    opening = os.open

    def refuse(path: Any, *flags: int) -> int:
        if str(path).endswith("secret.jpg"):  # the superuser may read everything
            raise PermissionError(13, "Permission denied")
        return opening(path, *flags)

    monkeypatch.setattr("boatinfer.images.files.os.open", refuse)
    summary = night(max_failures="7")
    assert {row["path"]: row["reason"] for row in rows(tmp_path / "out", "failures.csv")} == {
        "cut.jpg": "corrupt",
        "dangling.jpg": "vanished",
        "empty.jpg": "not_an_image",
        "huge.jpg": "too_large",
        "pipe.jpg": "unreadable",
        "secret.jpg": "unreadable",
        "text.jpg": "not_an_image",
    }
    assert counts(summary) == (19, 12, 0, 7)
    assert summary.exit_code == 0
    assert all(row["message"] for row in rows(tmp_path / "out", "failures.csv"))


def test_one_picture_that_the_network_refuses_spoils_no_other(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Model.infer

    def refuse(self: Model, batch: images.Pixels) -> Any:
        if len(batch) != 3 and (batch[..., 2].mean(axis=(1, 2)) > 200).any():  # 3: self-test
            raise RuntimeError("no blue today")
        return infer(self, batch)

    monkeypatch.setattr(Model, "infer", refuse)
    summary = night(batch_size=12, max_failures="100%")
    assert summary.failures == {"inference_failed": 4}
    assert summary.labels == {"green": 4, "red": 4}
    messages = {row["message"] for row in rows(tmp_path / "out", "failures.csv")}
    assert messages == {"no blue today"}


@pytest.mark.parametrize("what", ["probabilities", "features"])
def test_a_result_that_is_no_number_is_a_failure(
    night: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    infer = Model.infer

    def spoil(self: Model, batch: images.Pixels) -> Any:
        found = infer(self, batch)
        if len(batch) == 12:
            getattr(found, what)[5] = np.nan
        return found

    monkeypatch.setattr(Model, "infer", spoil)
    summary = night(batch_size=12, max_failures="1")
    assert summary.failures == {"inference_failed": 1}


def test_lenient_classifies_a_damaged_jpeg_and_keeps_the_warning(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    whole = colours.picture("red", size=(320, 96))
    (pictures / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    assert night(lenient=True).failed == 0
    (part,) = (tmp_path / "out" / "parts").iterdir()
    (row,) = (r for r in pq.read_table(part).to_pylist() if r["path"] == "cut.jpg")
    assert (row["status"], row["error"]) == ("ok", "Premature end of JPEG file")


def test_a_silent_error_of_the_network_is_named(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Model.infer

    def stumble(self: Model, batch: images.Pixels) -> Any:
        if len(batch) == 3:
            return infer(self, batch)
        raise MemoryError

    monkeypatch.setattr(Model, "infer", stumble)
    night(batch_size=12, max_failures="100%")
    assert {row["message"] for row in rows(tmp_path / "out", "failures.csv")} == {"MemoryError"}


def test_choices_of_what_to_classify(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    assert night(include=["red/*", "000.jpg"]).labels == {"blue": 1, "green": 1, "red": 4}
    assert night(exclude=["red"]).labels == {"blue": 4, "green": 4}
    assert night(limit=5).labels == {"blue": 4, "green": 1}
    (tmp_path / "list").write_text("red/000.jpg\nred/none.jpg\n")
    summary = night(from_file=tmp_path / "list", max_failures="1")
    assert (summary.found, summary.failures) == (2, {"vanished": 1})
    with pytest.raises(UsageError, match="no image files"):
        night(recursive=False)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "list",
            b"pictures/red/000.jpg\npictures/red/001.jpg\n",
            r"the first of 2 is pictures/red",
        ),
        ("list", b"\n", "names no files; it must have one path on each line"),
        ("photo.jpg", b"\xff\xd8\xff", "is an image and no list of paths"),
    ],
)
def test_a_list_of_nothing_is_refused_before_a_folder_is_made(
    night: Callable[..., Summary], tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        night(from_file=tmp_path / name)
    assert not (tmp_path / "out").exists()


def test_whatever_one_image_does_to_the_reader_is_its_own_trouble(
    night: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = images.read
    calls = itertools.count()

    def stumble(*arguments: Any, **options: Any) -> Any:
        if next(calls) == 8:
            raise ZeroDivisionError("so odd")
        return read(*arguments, **options)

    monkeypatch.setattr(images, "read", stumble)
    summary = night(max_failures="1")
    assert (summary.classified, summary.failures) == (11, {"corrupt": 1})


class OnGPU:
    """A session on the CPU that passes for one on a GPU and notes how many images it sees."""

    def __init__(self, session: Any, seen: list[int]) -> None:
        self._session, self._seen = session, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: list[str], fed: dict[str, Any], options: Any = None) -> Any:
        self._seen += [len(tensor) for tensor in fed.values()]
        return self._session.run(names, fed, options)


def test_on_a_gpu_every_batch_has_the_same_shape(
    night: Callable[..., Summary], model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(out=model_file.parent / "cpu")
    seen: list[int] = []

    def on_gpu(*arguments: Any) -> tuple[Any, Device]:
        session, _ = open_session(*arguments)
        return OnGPU(session, seen), Device.CUDA

    monkeypatch.setattr("boatinfer.models.model.open_session", on_gpu)
    night(batch_size=5, threads=3)
    assert len(seen) > 3  # the self-test's and those of twelve images
    assert set(seen) == {5}
    assert outcomes(model_file.parent / "out") == outcomes(model_file.parent / "cpu")


def test_on_a_gpu_the_next_batch_is_read_while_one_is_inferred(
    night: Callable[..., Summary], model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = replace(open_model(model_file), device=Device.CUDA, batch_size=4)
    monkeypatch.setattr("boatinfer.pipeline.run.open_model", lambda *_, **__: opened)
    was_read = [threading.Event() for _ in range(3)]
    reads, inferences = itertools.count(), itertools.count(1)
    read, infer = Classifier.read, Model.infer

    def note(self: Classifier, batch: list[ListedFile]) -> Loaded:
        loaded = read(self, batch)
        was_read[next(reads)].set()
        return loaded

    def wait(self: Model, batch: images.Pixels) -> Any:
        assert was_read[min(next(inferences), 2)].wait(10)
        return infer(self, batch)

    monkeypatch.setattr(Classifier, "read", note)
    monkeypatch.setattr(Model, "infer", wait)
    assert night(batch_size=4, threads=1).classified == 12


@pytest.mark.parametrize("name", ["include", "exclude"])
def test_one_pattern_is_not_a_list_of_letters(night: Callable[..., Summary], name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}=\['\*\.png'\]"):
        night(**{name: "*.png"})


def test_progress_ends_at_the_total(model_file: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "bad.jpg").write_text("hello")
    seen: list[Progress] = []
    run(RunOptions(pictures, tmp_path / "out", model_file, batch_size=4), seen.append)
    assert seen[0] == Progress(None, 0, 0)
    assert seen[-1] == Progress(13, 13, 1)
    assert [p.done for p in seen] == sorted(p.done for p in seen)


def test_the_default_results_folder_is_named_after_the_scanned_one(
    model_file: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(RunOptions(pictures, model=model_file))
    assert (tmp_path / "boatinfer-out" / "pictures" / "predictions.csv").exists()
    monkeypatch.chdir(pictures)
    assert run(RunOptions(Path(), model=model_file)).found == 12
    assert run(RunOptions(Path(), model=model_file)).reused == 12
