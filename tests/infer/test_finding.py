"""How results are found: by their own folder, or by the one whose images they are of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from blobs import write_blobs
from boatinfer.results.summary import Summary
from boatinfer.storage.locations import place
from support import Command, counts

Night = Callable[..., Summary]


def test_results_whose_run_json_was_deleted_are_still_there(
    boatinfer: Command, night: Night, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    night()
    (out / "run.json").unlink()
    for command in (["results", out, "--verify"], ["evaluate", out], ["report", out]):
        done = boatinfer(*command)
        assert (done.code, done.err) == (0, "")
    assert counts(night()) == (12, 0, 12, 0)


def test_pictures_in_a_folder_called_parts_are_no_results(
    boatinfer: Command,
    pictures: Path,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (pictures / "red").rename(pictures / "parts")
    assert boatinfer("run", pictures, "-m", model_file).code == 0
    for command in ("report", "results"):
        assert boatinfer(command, pictures).code == 0


def test_a_folder_and_a_model_may_lie_where_the_name_is_no_text(
    boatinfer: Command,
    pictures: Path,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / os.fsdecode(b"odd\xff")
    odd.mkdir()
    folder, model = pictures.rename(odd / "pictures"), model_file.rename(odd / "m.onnx")
    assert boatinfer("run", folder, "-m", model).code == 0
    assert "12 ever recorded" in boatinfer("results", folder).out


def test_svms_are_compared_on_results_in_a_bucket(boatinfer: Command, bucket: str) -> None:
    out = f"s3://{bucket}/blobs"
    write_blobs(place(out), 60, seed=0)
    assert f"60 images of {out}" in boatinfer("svm", "compare", out).out
    done = boatinfer("evaluate", out, "--html", f"s3://{bucket}/e.html")
    assert "must be a file or folder of this machine" in done.err


def test_a_place_that_the_system_refuses_is_one_sentence(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    boatinfer("run", pictures, "-o", tmp_path / "out", "-m", model_file, "--features")
    for where in (tmp_path / ("a" * 300), tmp_path / ("a" * 300) / "file"):
        for arguments in [
            ("results", where),
            ("report", where),
            ("evaluate", where),
            ("evaluate", tmp_path / "out", "--html", f"{where}.html"),
            ("features", tmp_path / "out", "-o", f"{where}.npz"),
            ("svm", "fit", tmp_path / "out", "-o", f"{where}.joblib"),
            ("run", pictures, "-o", where, "-m", model_file),
            ("run", where, "-o", tmp_path / "new", "-m", model_file),
        ]:
            done = boatinfer(*arguments)
            assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), arguments
            assert "File name too long" in done.err
