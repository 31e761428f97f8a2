"""Where ``data build`` writes: into the new folder, and nowhere else."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import colours
from answered import labels_file, row
from boatinfer.dataset.labelled_images import read_collection
from boatinfer.errors import UsageError
from boattrain.data.build import BuildResult, build
from boattrain.data.options import BuildOptions
from boattrain.data.transfer import require_inside


def tree(folder: Path) -> dict[Path, bytes]:
    """All files of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """The answer about one picture in deep/shots/."""
    picture = tmp_path / "deep/shots/a.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(colours.picture("red", 9000))
    return labels_file(tmp_path, [row(picture, "red")])


def built(data: Path, labels: Path, **options: object) -> BuildResult:
    place = data.parent
    made = BuildOptions(data, labels, place / "data2", images=place / "deep/shots", **options)  # type: ignore[arg-type]
    return build(made)


def base_table(data: Path, names: dict[str, str]) -> Path:
    """A table of the images of the base, by their paths and classes."""
    with (data.parent / "base.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for name, label in names.items():
            writer.writerow([name, label, "valid" if "valid" in name else "train"])
    return data.parent / "base.csv"


@pytest.mark.parametrize("outside", ["../../v.jpg", "{}/v.jpg", r"\x2e\x2e/v.jpg"])
def test_an_answer_about_an_image_outside_is_refused(
    outside: str, data: Path, labels: Path, tmp_path: Path
) -> None:
    for folder in (tmp_path, tmp_path / "deep"):
        (folder / "v.jpg").write_bytes(colours.picture("red", 9001))
    line = row(tmp_path / "v.jpg", "red", name=outside.format(tmp_path))
    labels.write_text(f"{labels.read_text()}{line}\n")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=r"v\.jpg, which is not inside"):
        built(data, labels)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("form", ["absolute", "climbing"])
def test_a_table_of_images_elsewhere_leaves_the_base_as_it_is(
    form: str, data: Path, labels: Path, tmp_path: Path
) -> None:
    files = read_collection(data).files
    (tmp_path / "empty").mkdir()
    start = str(data) if form == "absolute" else f"../{data.name}"
    rows = {f"{start}/{n}": label for n, label in zip(files.names, files.class_names, strict=True)}
    table, before = base_table(data, rows), tree(tmp_path)
    built(tmp_path / "empty", labels, base_table=table)
    after = tree(tmp_path)
    new = {path for path in after if path.is_relative_to(tmp_path / "data2")}
    assert len(new) == len(rows) + 1
    assert {path: content for path, content in after.items() if path not in new} == before


@pytest.mark.parametrize("name", ["..", r"\x2e\x2e", "a/b", r"..\x2fred"])
def test_a_class_that_is_no_folder_name_is_refused(name: str, data: Path, labels: Path) -> None:
    labels.write_text(labels.read_text().replace(",red,", f",{name},"))
    before = tree(data.parent)
    with pytest.raises(UsageError, match="cannot be the name of a folder"):
        built(data, labels)
    assert tree(data.parent) == before


@pytest.mark.parametrize("target", ["../a.jpg", "x/../../a.jpg", "/a.jpg"])
def test_a_target_outside_of_the_new_folder_is_refused(target: str, tmp_path: Path) -> None:
    require_inside(tmp_path, [tmp_path / "a.jpg", tmp_path / "x/../b.jpg"])
    with pytest.raises(UsageError, match="would not be inside the new folder"):
        require_inside(tmp_path, [tmp_path / "a.jpg", tmp_path / target])
