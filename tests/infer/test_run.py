from __future__ import annotations

import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import xxhash

import colours
from boatinfer import images
from boatinfer.batch import Classifier
from boatinfer.card import Outputs
from boatinfer.errors import (
    BoatinferError,
    BusyError,
    ModelError,
    OutputError,
    RunInterruptedError,
    UsageError,
)
from boatinfer.model import Model, open_model
from boatinfer.options import Device, RunOptions
from boatinfer.parts import Parts, Row
from boatinfer.results import Results, Summary
from boatinfer.run import Progress, run
from support import rows


@pytest.fixture
def night(model_file: Path, pictures: Path, tmp_path: Path) -> Callable[..., Summary]:
    """Runs over the pictures into tmp_path/out; options may be changed by name."""

    def call(**changes: Any) -> Summary:
        defaults = {"folder": pictures, "out": tmp_path / "out", "model": model_file}
        return run(RunOptions(**(defaults | changes)))

    return call


def without_times(summary: Summary) -> tuple[int, int, int, int]:
    return summary.found, summary.classified, summary.reused, summary.failed


def test_every_picture_gets_its_row(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    summary = night()
    found = rows(tmp_path / "out")
    names = sorted(str(p.relative_to(pictures)) for p in pictures.rglob("*.jpg"))
    assert [row["path"] for row in found] == names
    assert list(found[0]) == [
        *("path", "label", "confidence", "second_label", "second_confidence", "status"),
    ]
    for row in found:
        pixels = images.read((pictures / row["path"]).read_bytes(), colours.SPEC)
        probabilities = colours.expected(pixels)
        best, second = (-probabilities).argsort()[:2]
        assert row["label"] == colours.CLASSES[best] == row["path"].split("/")[0]
        assert float(row["confidence"]) == pytest.approx(probabilities[best], abs=1e-5)
        assert row["second_label"] == colours.CLASSES[second]
        assert float(row["second_confidence"]) == pytest.approx(probabilities[second], abs=1e-5)
        assert row["status"] == "ok"
    assert without_times(summary) == (12, 12, 0, 0)
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
        *("failed", "failures", "labels", "images_per_second", "model", "device", "versions"),
        *("complete", "exit_code", "error", "model_name"),
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
        *("path", "bytes", "mtime_ns", "content", "model", "run", "status", "error"),
        *("label", "confidence", "probabilities", "features"),
    ]
    assert str(table.schema.field("probabilities").type) == "fixed_size_list<element: float>[3]"
    assert str(table.schema.field("features").type) == "fixed_size_list<element: float>[3]"
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


def test_unchanged_pictures_are_not_opened_again(
    night: Callable[..., Summary], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    (pictures / "red" / "new.jpg").write_bytes(colours.picture("red", seed=99))
    (pictures / "blue" / "000.jpg").write_bytes(colours.picture("green", seed=99))
    opened = []
    load = images.load

    def note(path: str) -> tuple[bytes, os.stat_result]:
        opened.append(str(Path(path).relative_to(pictures)))
        return load(path)

    monkeypatch.setattr(images, "load", note)
    assert without_times(night()) == (13, 2, 11, 0)
    assert sorted(opened) == ["blue/000.jpg", "red/new.jpg"]


def test_a_changed_picture_gets_its_new_label(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    night()
    (pictures / "blue" / "000.jpg").write_bytes(colours.picture("green", seed=99))
    night()
    labels = {row["path"]: row["label"] for row in rows(tmp_path / "out")}
    assert labels["blue/000.jpg"] == "green"


def test_pictures_that_have_gone_leave_the_table(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    night()
    (pictures / "red" / "000.jpg").unlink()
    assert without_times(night()) == (11, 0, 11, 0)
    assert "red/000.jpg" not in {row["path"] for row in rows(tmp_path / "out")}


def test_failures_are_tried_again(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    path = pictures / "red" / "late.jpg"
    whole = colours.picture("red", seed=50)
    path.write_bytes(whole[:500])
    summary = night(max_failures="1")
    assert summary.failures == {"corrupt": 1}
    assert [row["path"] for row in rows(tmp_path / "out", "failures.csv")] == ["red/late.jpg"]
    path.write_bytes(whole)
    assert without_times(night()) == (13, 1, 12, 0)
    assert rows(tmp_path / "out", "failures.csv") == []


def test_a_new_model_makes_all_rows_stale(night: Callable[..., Summary], tmp_path: Path) -> None:
    night()
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(notes="another"))
    assert without_times(night(model=other)) == (12, 12, 0, 0)


def test_features_are_added_where_they_are_missing(night: Callable[..., Summary]) -> None:
    night()
    assert night(features=True).classified == 12
    assert night(features=True).reused == 12
    assert night().reused == 12


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 1), (2, 7), (5, 32)])
def test_threads_and_batches_change_nothing(
    night: Callable[..., Summary], tmp_path: Path, threads: int, batch_size: int
) -> None:
    night()
    night(out=tmp_path / "other", threads=threads, batch_size=batch_size)
    wanted = (tmp_path / "out" / "predictions.csv").read_bytes()
    assert (tmp_path / "other" / "predictions.csv").read_bytes() == wanted


@pytest.mark.parametrize("top", [1, 3, 10])
def test_top_names_more_or_fewer_classes(
    night: Callable[..., Summary], tmp_path: Path, top: int
) -> None:
    night(top=top)
    columns = ["label", "confidence", "second_label", "second_confidence"]
    columns += ["third_label", "third_confidence"]
    assert list(rows(tmp_path / "out")[0]) == ["path", *columns[: 2 * min(top, 3)], "status"]


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
    monkeypatch.setattr(images, "MAX_BYTES", 5000)
    (pictures / "secret.jpg").write_bytes(colours.picture("red"))
    opening = os.open

    def refuse(path: Any, *flags: int) -> int:
        if str(path).endswith("secret.jpg"):  # the superuser may read everything
            raise PermissionError(13, "Permission denied")
        return opening(path, *flags)

    monkeypatch.setattr("boatinfer.images.os.open", refuse)
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
    assert without_times(summary) == (19, 12, 0, 7)
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


def test_a_result_that_is_no_number_is_a_failure(
    night: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Model.infer

    def spoil(self: Model, batch: images.Pixels) -> Any:
        probabilities, features = infer(self, batch)
        if len(batch) == 12:
            probabilities = probabilities.copy()
            probabilities[5] = np.nan
        return probabilities, features

    monkeypatch.setattr(Model, "infer", spoil)
    summary = night(batch_size=12, max_failures="1")
    assert summary.failures == {"inference_failed": 1}


@pytest.mark.parametrize(
    ("allowed", "code"), [("5%", 3), ("7%", 3), ("8%", 0), ("0", 3), ("1", 0), ("100%", 0)]
)
def test_failures_beyond_the_limit_are_exit_code_3(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path, allowed: str, code: int
) -> None:
    (pictures / "bad.jpg").write_text("hello")  # one of 13: 7.7 %
    summary = night(max_failures=allowed)
    assert (summary.complete, summary.exit_code) == (True, code)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["exit_code"] == code


def test_lenient_classifies_a_damaged_jpeg_and_keeps_the_warning(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    whole = colours.picture("red", size=(320, 96))
    (pictures / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    assert night(lenient=True).failed == 0
    (part,) = (tmp_path / "out" / "parts").iterdir()
    (row,) = (r for r in pq.read_table(part).to_pylist() if r["path"] == "cut.jpg")
    assert (row["status"], row["error"]) == ("ok", "Premature end of JPEG file")


@pytest.mark.parametrize("earlier", [False, True])
def test_a_lost_row_is_noticed(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    earlier: bool,
) -> None:
    """Even where an older row of the same path is there, of the image as it was then."""
    if earlier:
        night()
        for name in ("000.jpg", "001.jpg"):
            (pictures / "blue" / name).write_bytes(colours.picture("green", seed=77))
    append = Parts.append

    def lose(self: Parts, rows: list[Row], *arguments: Any) -> None:
        append(self, rows[1:], *arguments)

    monkeypatch.setattr(Parts, "append", lose)
    with pytest.raises(BoatinferError, match="do not account for") as raised:
        night()
    assert raised.value.exit_code == 1
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (written["complete"], written["exit_code"]) == (False, 1)
    assert "Not complete" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("bad", ["x", "-1", "-5%", "5 percent", "%", "nan%"])
def test_a_limit_that_is_no_number_is_refused(night: Callable[..., Summary], bad: str) -> None:
    with pytest.raises(UsageError, match="--max-failures"):
        night(max_failures=bad)


def test_what_cannot_start_leaves_nothing(
    night: Callable[..., Summary], pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.onnx").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    for changes, error in [
        ({"folder": tmp_path / "nowhere"}, UsageError),
        ({"folder": model_file}, UsageError),
        ({"folder": tmp_path / "empty"}, UsageError),
        ({"model": tmp_path / "text.onnx"}, ModelError),
        ({"model": tmp_path / "none.onnx"}, ModelError),
        ({"svm": tmp_path / "none.joblib"}, ModelError),
    ]:
        with pytest.raises(error):
            night(**changes)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_without_features_cannot_give_them(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    bare = colours.card(outputs=Outputs(probabilities="probabilities"), features=None)
    with pytest.raises(UsageError, match="no feature output"):
        night(model=colours.write_model(tmp_path / "bare.onnx", card=bare), features=True)


def test_two_folders_never_share_their_results(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night()
    colours.write_pictures(tmp_path / "others", each=1)
    with pytest.raises(UsageError, match="holds the results of"):
        night(folder=tmp_path / "others")


def test_a_held_folder_ends_the_second_run_and_says_who_holds_it(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    results = Results(tmp_path / "out")
    with results.hold(str(pictures)), pytest.raises(BusyError, match=f"process {os.getpid()} on "):
        night()
    assert night().classified == 12


def test_a_folder_that_cannot_be_written_is_exit_code_7(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"):
        night(out=tmp_path / "file" / "out")


def test_a_full_disk_loses_nothing_that_was_written(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = itertools.count()
    write = Path.write_bytes

    def fill(self: Path, content: bytes) -> int:
        if ".parquet" in self.name and next(writes) == 2:
            raise OSError(28, "No space left on device")
        return write(self, content)

    monkeypatch.setattr("boatinfer.run.PART_ROWS", 3)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", fill)
        with pytest.raises(OutputError, match="No space left"):
            night(batch_size=3, threads=1)
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert without_times(night()) == (12, 6, 6, 0)


def test_a_damaged_part_is_named(night: Callable[..., Summary], tmp_path: Path) -> None:
    night()
    (part,) = (tmp_path / "out" / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(OutputError, match=part.name):
        night()
    part.unlink()
    assert night().classified == 12


def test_leftovers_of_a_killed_run_are_cleaned_and_nothing_else(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night()
    leftover = tmp_path / "out" / "parts" / ".000002-0123456789abcdef.parquet.123.tmp"
    leftover.write_bytes(b"half")
    (tmp_path / "out" / "mine").mkdir()
    names = [".notes.tmp", ".notes.2024.tmp", "..5.tmp", "mine/.run.json.1.tmp"]
    others = [tmp_path / "out" / name for name in names]
    for other in others:
        other.touch()
    (tmp_path / "out" / ".folder.1.tmp").mkdir()
    assert night().reused == 12
    assert not leftover.exists()
    assert all(other.exists() for other in others)


def test_a_folder_of_other_things_is_not_filled(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter.txt").touch()
    for folder in (tmp_path / "documents", pictures):
        before = sorted(folder.rglob("*"))
        with pytest.raises(UsageError, match=r"something else than results|itself"):
            night(out=folder)
        assert sorted(folder.rglob("*")) == before


def test_a_folder_called_parts_makes_no_results_folder(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    (shop / "parts").mkdir(parents=True)
    (shop / "letter.txt").touch()
    with pytest.raises(UsageError, match="something else"):
        night(out=shop)
    (tmp_path / "empty").mkdir()
    (tmp_path / "new").mkdir()
    with pytest.raises(UsageError, match="no image files"):
        night(folder=tmp_path / "empty", out=tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_a_progress_display_that_breaks_costs_no_rows(
    model_file: Path, pictures: Path, tmp_path: Path
) -> None:
    def broken(now: Progress) -> None:
        if now.done >= 8:
            raise BrokenPipeError

    options = RunOptions(pictures, tmp_path / "out", model_file, batch_size=4, threads=1)
    with pytest.raises(BrokenPipeError):
        run(options, broken)
    assert run(options).reused >= 8


def test_every_content_is_found_again(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    """Digests that end in zeros too."""
    image = colours.picture("red")
    seeds = (image + struct.pack(">I", n) for n in itertools.count())
    odd = next(s for s in seeds if xxhash.xxh3_128_hexdigest(s).endswith("00"))
    (pictures / "odd.jpg").write_bytes(odd)
    night()
    (pictures / "odd.jpg").rename(pictures / "moved.jpg")
    assert without_times(night()) == (13, 0, 13, 0)


def test_a_signal_that_is_ignored_stays_ignored(
    night: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work = Classifier.__call__

        def interrupt(self: Classifier, batch: Any) -> list[Row]:
            os.kill(os.getpid(), signal.SIGINT)
            return work(self, batch)

        monkeypatch.setattr(Classifier, "__call__", interrupt)
        assert night().classified == 12
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("changes", [{"top": 30}, {"limit": 0}, {"threads": -1}])
def test_numbers_out_of_range_are_refused(
    night: Callable[..., Summary], changes: dict[str, int]
) -> None:
    with pytest.raises(UsageError, match="must be from 1"):
        night(**changes)


def test_a_model_named_by_no_text_is_still_one_sentence(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night()
    with pytest.raises(ModelError):
        night(model=Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.onnx")))
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert "m\\xff.onnx" in written["error"]


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


def test_copies_renamed_and_touched_images_need_no_inference(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(features=True)
    (pictures / "copy.jpg").write_bytes((pictures / "red" / "000.jpg").read_bytes())
    (pictures / "red" / "001.jpg").rename(pictures / "renamed.jpg")
    os.utime(pictures / "red" / "002.jpg")
    infer = Model.infer
    sizes: list[int] = []

    def note(self: Model, batch: images.Pixels) -> Any:
        sizes.append(len(batch))
        return infer(self, batch)

    monkeypatch.setattr(Model, "infer", note)
    assert without_times(night(features=True)) == (13, 0, 13, 0)
    assert sizes == [3]  # the self-test
    found = {row["path"]: row for row in rows(tmp_path / "out")}
    assert found["copy.jpg"]["label"] == found["renamed.jpg"]["label"] == "red"
    assert found["copy.jpg"]["confidence"] == found["red/000.jpg"]["confidence"]
    assert without_times(night(features=True)) == (13, 0, 13, 0)
    assert night(features=True, fresh=True).classified == 13


def test_a_strict_run_judges_again_what_a_lenient_one_let_pass(
    night: Callable[..., Summary], pictures: Path
) -> None:
    whole = colours.picture("red", size=(320, 96))
    (pictures / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    assert night(lenient=True).failed == 0
    assert night(lenient=True).reused == 13
    assert night(max_failures="1").failures == {"corrupt": 1}


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


def test_a_folder_that_cannot_be_listed_fails_the_night(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours.write_pictures(pictures / "more", each=20)
    listing = os.scandir

    def refuse(folder: Any) -> Any:
        if str(folder).endswith("green"):  # the superuser may list every folder
            raise PermissionError(13, "Permission denied")
        return listing(folder)

    monkeypatch.setattr("os.scandir", refuse)
    summary = night()
    assert (summary.complete, summary.exit_code) == (True, 3)
    assert {row["path"] for row in rows(tmp_path / "out", "failures.csv")} == {
        *("green/", "more/green/"),
    }


def test_a_failed_start_is_told_where_last_nights_success_stood(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    night()
    with pytest.raises(ModelError):
        night(model=tmp_path / "none.onnx")
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (written["complete"], written["exit_code"]) == (False, 4)
    assert "none.onnx" in written["error"]
    assert "none.onnx" in (tmp_path / "out" / "report.html").read_text()
    night(report=False)
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_killed_run_leaves_a_report_that_says_so(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()

    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("boatinfer.run.Contents", kill)
        with pytest.raises(KeyboardInterrupt):
            night(fresh=True)
    assert "Not finished" in (tmp_path / "out" / "report.html").read_text()
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (written["finished"], written["complete"]) == (None, False)


def test_names_of_folders_that_are_no_text(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    odd = pictures.rename(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    assert night(folder=odd).found == 12
    assert night(folder=odd).folder.endswith("odd\\xff")
    with pytest.raises(UsageError, match="not valid UTF-8"):
        night(folder=odd, out=Path(os.fsdecode(os.fsencode(tmp_path) + b"/out\xff")))


def test_whatever_one_image_does_to_the_reader_is_its_own_trouble(
    night: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = images.read
    calls = itertools.count()

    def stumble(*arguments: Any) -> Any:
        if next(calls) == 8:
            raise ZeroDivisionError("so odd")
        return read(*arguments)

    monkeypatch.setattr(images, "read", stumble)
    summary = night(max_failures="1")
    assert (summary.classified, summary.failures) == (11, {"corrupt": 1})


def test_on_a_gpu_every_batch_has_the_same_shape(
    night: Callable[..., Summary], model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(out=model_file.parent / "cpu")
    opened = replace(open_model(model_file), device=Device.CUDA)
    monkeypatch.setattr("boatinfer.run.open_model", lambda *_, **__: opened)
    infer = Model.infer
    sizes: list[int] = []

    def note(self: Model, batch: images.Pixels) -> Any:
        sizes.append(len(batch))
        return infer(self, batch)

    monkeypatch.setattr(Model, "infer", note)
    night(batch_size=5, threads=3)
    assert sizes == [5, 5, 5]
    found = (model_file.parent / "out" / "predictions.csv").read_bytes()
    assert found == (model_file.parent / "cpu" / "predictions.csv").read_bytes()


def test_progress_ends_at_the_total(model_file: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "bad.jpg").write_text("hello")
    seen: list[Progress] = []
    run(RunOptions(pictures, tmp_path / "out", model_file, batch_size=4), seen.append)
    assert seen[0] == Progress(13, 0, 0)
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_done(
    night: Callable[..., Summary],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    before = signal.getsignal(number)
    work = Classifier.__call__
    batches = itertools.count()

    def slow(self: Classifier, batch: Any) -> list[Row]:
        if next(batches) == 3:
            os.kill(os.getpid(), number)
        time.sleep(0.02)
        return work(self, batch)

    with monkeypatch.context() as slowed:
        slowed.setattr(Classifier, "__call__", slow)
        with pytest.raises(RunInterruptedError, match="continues from there") as raised:
            night(batch_size=1, threads=1)
    assert raised.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (written["complete"], written["exit_code"]) == (False, 128 + number)
    assert 0 < written["classified"] < 12
    assert not (tmp_path / "out" / "predictions.csv").exists()
    summary = night()
    assert (summary.reused, summary.complete) == (written["classified"], True)


def test_a_killed_run_continues(model_file: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    colours.write_pictures(folder, each=60)
    code = """
import sys
from pathlib import Path
from boatinfer import run as runs
from boatinfer.options import Device, RunOptions
runs.PART_ROWS = 10
runs.run(RunOptions(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), batch_size=2))
"""
    command = [sys.executable, "-c", code, str(folder), str(out), str(model_file)]
    process = subprocess.Popen(command)
    while len(list(out.glob("parts/*.parquet"))) < 3 and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
    summary = run(RunOptions(folder, out, model_file))
    assert summary.complete
    assert summary.reused >= 20
    run(RunOptions(folder, tmp_path / "undisturbed", model_file))
    wanted = (tmp_path / "undisturbed" / "predictions.csv").read_bytes()
    assert (out / "predictions.csv").read_bytes() == wanted
