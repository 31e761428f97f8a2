from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import Command, flat

Spoil = Callable[[Path], None]


def remove(*paths: str) -> Spoil:
    def spoil(data: Path) -> None:
        for path in paths:
            shutil.rmtree(data / path)

    return spoil


def empty(path: str) -> Spoil:
    def spoil(data: Path) -> None:
        for file in (data / path).iterdir():
            file.unlink()

    return spoil


def break_images(*paths: str) -> Spoil:
    def spoil(data: Path) -> None:
        for path in paths:
            for file in (data / path).iterdir():
                file.write_text("no image")

    return spoil


def make_a_file(data: Path) -> None:
    shutil.rmtree(data)
    data.touch()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("."), "{data} does not exist"),
        (make_a_file, "{data} is not a folder"),
        (remove("train"), "{data} holds no folder train/"),
        (remove("valid"), "{data} holds no folder valid/"),
        (remove("train/red", "train/green", "train/blue"), "{data}/train holds no class folders"),
        (remove("train/red", "train/green"), "{data}/train holds only one class, blue"),
        (empty("train/green"), "{data}/train has no images of the class green"),
        (
            remove("valid/red", "valid/blue", "valid/green"),
            "{data}/valid has no images in the folders of the classes of train",
        ),
        (remove("train/red"), "{data}/valid has the class red, which {data}/train lacks"),
        (break_images("train/red"), "{data}/train has no readable images of the class red"),
        (
            break_images("valid/red", "valid/blue", "valid/green"),
            "{data}/valid has no readable images in the folders of the classes of train",
        ),
    ],
)
def test_data_that_cannot_be_used(
    data: Path,
    tmp_path: Path,
    boatinfer: Command,
    spoil: Spoil,
    message: str,
) -> None:
    spoil(data)
    (tmp_path / "out").mkdir()

    outcome = boatinfer("train", "cnn", data, "-o", tmp_path / "out/model.keras")

    assert outcome.code == 2
    assert outcome.out == ""
    last = outcome.err.splitlines()[-1]
    assert last.startswith("boatinfer: ")
    assert message.format(data=data) in last
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("missing/model.keras", "missing does not exist"),
        ("model.h5", "model.h5 must end in .keras"),
        ("folder.keras", "folder.keras is a folder"),
        ("there.keras", "there.card.json exists already; give another name, or --force"),
    ],
)
def test_output_that_cannot_be_written(
    data: Path,
    tmp_path: Path,
    boatinfer: Command,
    output: str,
    message: str,
) -> None:
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "there.card.json").write_text("precious")
    before = sorted(tmp_path.rglob("*"))

    outcome = boatinfer("train", "cnn", data, "-o", tmp_path / output)

    assert outcome.code == 2
    assert message in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("30", "--size 30 is not HEIGHTxWIDTH"),
        ("30x-100", "--size 30x-100 is not HEIGHTxWIDTH"),
        ("11x100", "--size 11x100 is too small"),
        ("30x0", "--size 30x0 is too small"),
    ],
)
def test_size_that_cannot_be_used(
    data: Path,
    boatinfer: Command,
    size: str,
    message: str,
) -> None:
    outcome = boatinfer("train", "cnn", data, "--size", size)

    assert outcome.code == 2
    assert message in outcome.err


@pytest.mark.parametrize("command", [("train", "cnn"), ("data", "show")])
def test_a_mistyped_folder_is_told_before_a_file_that_is_in_the_way(
    tmp_path: Path, boatinfer: Command, command: tuple[str, str]
) -> None:
    for name in ("there.keras", "there.png"):
        (tmp_path / name).write_text("kept")
    output = tmp_path / ("there.keras" if command[0] == "train" else "there.png")
    outcome = boatinfer(*command, tmp_path / "mistyped", "-o", output)
    assert outcome.code == 2
    assert f"the folder {tmp_path / 'mistyped'} does not exist" in outcome.err


def test_resuming_without_a_checkpoint_is_refused_before_any_work(
    data: Path, tmp_path: Path, boatinfer: Command
) -> None:
    outcome = boatinfer("train", "cnn", data, "-o", tmp_path / "model.keras", "--resume")

    assert outcome.code == 2
    assert outcome.err.startswith(f"boatinfer: --resume: {tmp_path / 'model.checkpoint'} holds no ")
    assert outcome.err.count("\n") == 1


def test_tensorboard_that_is_not_installed(
    data: Path, tmp_path: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    outcome = boatinfer("train", "cnn", data, "-o", tmp_path / "m.keras", "--tensorboard", tmp_path)

    assert outcome.code == 2
    assert "--tensorboard needs tensorboard, which is not installed" in outcome.err


def test_a_share_of_valid_that_is_none(data: Path, boatinfer: Command) -> None:
    outcome = boatinfer("train", "cnn", flat(data), "--valid", "ten")

    assert outcome.code == 2
    assert "--valid ten is no share of the images" in outcome.err


@pytest.mark.parametrize("module", ["boattrain.cli", "boattrain.data.cli"])
def test_the_commands_are_light(module: str) -> None:
    heavy = ["tensorflow", "keras", "matplotlib", "sklearn", "pyarrow", "requests"]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_data_is_a_group(boatinfer: Command) -> None:
    assert "data " in boatinfer("--help").out
    shown = boatinfer("data", "--help").out
    assert all(f" {name} " in shown for name in ("check", "download", "show", "split"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "check", "s3://boats/data"],
        ["data", "show", "data", "-o", "s3://boats/batch.png"],
        ["train", "cnn", "s3://boats/data"],
    ],
)
def test_what_lies_in_a_bucket_must_be_brought_here(
    boatinfer: Command, arguments: list[str]
) -> None:
    done = boatinfer(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "this must be a file or folder of this machine; copy it here" in done.err
