"""Formats of other tools take nothing away: not the results, not images, not what is not theirs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from boatinfer.formats import FORMATS
from support import Command


@pytest.fixture
def out(boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path) -> Path:
    assert boatinfer("run", pictures, "-o", tmp_path / "out", "-m", model_file).code == 0
    return tmp_path / "out"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("inside", ["run.json", "new"])
def test_no_format_writes_into_the_results_folder(
    boatinfer: Command, out: Path, name: str, inside: str
) -> None:
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    done = boatinfer("results", out, "--to", name, "-o", out / inside, "--overwrite")
    assert done.code == 2
    assert "results folder" in done.err or "must end" in done.err or ".json" in done.err
    assert before == {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["coco", "sqlite", "folders"])
def test_no_format_writes_over_an_image(
    boatinfer: Command, out: Path, pictures: Path, name: str
) -> None:
    image = min(pictures.rglob("*.jpg"))
    target, content = pictures / "by-class" if name == "folders" else image, image.read_bytes()
    done = boatinfer("results", out, "--to", name, "-o", target, "--overwrite")
    assert (done.code, "is in the folder of the images" in done.err) == (2, True)
    assert image.read_bytes() == content
    assert not (pictures / "by-class").exists()


def test_undo_follows_no_link_to_the_images(
    boatinfer: Command, out: Path, pictures: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    assert boatinfer("results", out, "--to", "folders", "--link", "copy", "-o", made).code == 0
    images = sorted(pictures.rglob("*.jpg"))
    shutil.move(made / "red", tmp_path / "kept")
    (made / "red").symlink_to(pictures / "red")
    done = boatinfer("results", "--undo", made)
    assert done.code == 7
    assert sorted(pictures.rglob("*.jpg")) == images


def test_undo_takes_no_file_from_elsewhere_and_no_folder_of_others(
    boatinfer: Command, out: Path, tmp_path: Path
) -> None:
    made, victim = tmp_path / "made", tmp_path / "victim.jpg"
    assert boatinfer("results", out, "--to", "folders", "--link", "copy", "-o", made).code == 0
    (made / "mine").mkdir()
    assert boatinfer("results", "--undo", made).code == 0
    assert [entry.name for entry in made.iterdir()] == ["mine"]
    victim.write_bytes(b"x")
    (made / "boatinfer-folders.csv").write_text(f"made,of,how\n../victim.jpg,{victim},copy\n")
    assert boatinfer("results", "--undo", made).code == 7
    assert victim.exists()
