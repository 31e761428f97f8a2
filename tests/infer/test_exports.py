"""`boatinfer results OUT --to FORMAT`: what all formats have in common, and those of JSON."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import boatinfer
import colours
from boatinfer.errors import UsageError
from boatinfer.formats import FORMATS, export, find_format
from boatinfer.formats.base import Written, images
from boatinfer.formats.options import ExportOptions
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.summary import Summary
from support import Command, rows

Night = Callable[..., Summary]

ODD = "=1 é'&.jpg"


OPTIONS: dict[str, Any] = {"max_failures": "9", "min_confidence": 0.99884, "isolate": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a model, and the results of a run, which the tests copy."""
    folder = tmp_path_factory.mktemp("exports")
    colours.write_pictures(folder / "pictures", each=4)
    (folder / "pictures" / ODD).write_bytes(colours.picture("red", seed=60))
    (folder / "pictures" / "broken.jpg").write_bytes(b"no image")
    model = colours.write_model(folder / "colours.onnx")
    run(RunOptions(folder / "pictures", out=folder / "out", model=model, **OPTIONS))
    return folder


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """Thirteen classified images, of which some are unsure, and one that failed."""
    return Path(shutil.copytree(made / "out", tmp_path / "out"))


def written(out: Path, name: str, **options: Any) -> Any:
    """Writes a JSON format and reads it."""
    file = out.parent / f"{name}.json"
    assert export(out, name, ExportOptions(output=file, overwrite=True, **options)).images
    return json.loads(file.read_text())


def guesses(out: Path) -> dict[str, tuple[str, float]]:
    """The network's class and its confidence, by path."""
    table = pq.read_table(out / "predictions.parquet").to_pylist()
    return {row["path"]: (row["guess"], row["confidence"]) for row in table if row["guess"]}


def with_columns(out: Path) -> None:
    """Adds columns to predictions.parquet, as later versions may."""
    file = out / "predictions.parquet"
    table = pq.read_table(file)
    count = table.num_rows
    table = table.append_column("reviewed", pa.array([None, "yes"] * (count // 2)))
    table = table.append_column("novelty", pa.array([0.5] * count))
    pq.write_table(table, file)


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"sqlite", "xmp"}))
def test_an_output_that_exists_is_one_sentence(
    boatinfer: Command, out: Path, tmp_path: Path, name: str
) -> None:
    output = tmp_path / ("there.json" if name == "label-studio" else "there")
    is_folder = name in ("camtrap-dp", "folders")
    if is_folder:
        output.mkdir()
        (output / "mine.txt").write_text("mine")
    else:
        output.write_text("mine")
    done = boatinfer("results", out, "--to", name, "-o", output)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"{output} exists already; give another name, or --overwrite" in done.err
    assert (output / "mine.txt" if is_folder else output).read_text() == "mine"
    if is_folder:  # what is not of the format is never replaced
        done = boatinfer("results", out, "--to", name, "-o", output, "--overwrite")
        assert done.code == 2
        assert "holds other files" in done.err
        assert (output / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "word", "-o", "x"], "there is no format word; there are megadetector, camtrap"),
        (["--to", "coco"], "--to needs the file or folder to write; give it with -o."),
        (["--to", "coco", "-o", "no/where/x"], "the folder no/where does not exist"),
        (["--to", "coco", "-o", "x", "--link", "copy"], "--link is no option of the format coco"),
        (["--to", "coco", "-o", "x", "--in-place"], "--in-place is no option of the format coco"),
        (["--to", "label-studio", "-o", "x"], "Label Studio imports .json files"),
        (["-o", "x"], "these options need a format; give it with --to."),
        (["--undo", "x"], "x holds no boatinfer-folders.csv"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    boatinfer: Command, out: Path, arguments: list[str], sentence: str
) -> None:
    done = boatinfer("results", out, *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert sentence in done.err


def test_a_write_that_fails_leaves_nothing(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Iterator[Any]:
        yield from list(images(boatinfer.read_results(out)))[:3]
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    for module in ("megadetector", "coco", "label_studio", "fiftyone", "folders"):
        monkeypatch.setattr(f"boatinfer.formats.{module}.images", broken)
        for suffix in (".json",):
            with pytest.raises(KeyboardInterrupt):
                name = module.replace("_", "-")
                export(out, name, ExportOptions(output=tmp_path / f"new{suffix}"))
        assert sorted(tmp_path.iterdir()) == before


def test_megadetector(out: Path) -> None:
    document = written(out, "megadetector")
    assert document["info"]["format_version"] == "1.5"
    assert document["info"]["classifier"] == "colours"
    names = document["classification_categories"]
    wanted = guesses(out)
    assert [entry["file"] for entry in document["images"]] == sorted([*wanted, "broken.jpg"])
    for entry in document["images"]:
        if entry["file"] == "broken.jpg":
            assert entry["detections"] is None
            assert entry["failure"].startswith("not_an_image: ")
            continue
        (detection,) = entry["detections"]
        label, confidence = wanted[entry["file"]]
        assert detection["bbox"] == [0, 0, 1, 1]
        assert detection["conf"] == confidence
        first, second = detection["classifications"]
        assert (names[first[0]], first[1]) == (label, confidence)
        assert first[1] > second[1]


def test_classes_may_be_humans_vehicles_or_nothing(out: Path, tmp_path: Path) -> None:
    types = tmp_path / "types.csv"
    types.write_text("label,type\nred,human\ngreen,blank\nblue,vehicle\n")
    document = written(out, "megadetector", class_types=types)
    found = {
        entry["file"].split("/")[0]: [one["category"] for one in entry["detections"]]
        for entry in document["images"]
        if "/" in entry["file"]
    }
    assert found == {"red": ["2"], "green": [], "blue": ["3"]}
    types.write_text("label,type\nred,plant\n")
    with pytest.raises(UsageError, match=r"types.csv, line 2: give a label and its type, one of"):
        written(out, "megadetector", class_types=types)
    with pytest.raises(UsageError, match=r"missing\.csv cannot be read"):
        written(out, "megadetector", class_types=tmp_path / "missing.csv")


def test_coco(out: Path) -> None:
    document = written(out, "coco")
    paths = {image["id"]: image["file_name"] for image in document["images"]}
    names = {category["id"]: category["name"] for category in document["categories"]}
    found = {
        paths[one["image_id"]]: (names[one["category_id"]], one["score"])
        for one in document["annotations"]
    }
    assert found == guesses(out)
    (failed,) = (image for image in document["images"] if "failure" in image)
    assert (failed["file_name"], failed["failure"]) == ("broken.jpg", "not_an_image")


def test_label_studio(out: Path) -> None:
    tasks = written(out, "label-studio")
    wanted = guesses(out)
    assert [task["data"]["path"] for task in tasks] == sorted(wanted)
    for task in tasks:
        (prediction,) = task["predictions"]
        (result,) = prediction["result"]
        choice, score = wanted[task["data"]["path"]]
        assert (result["value"], prediction["score"]) == ({"choices": [choice]}, score)
        assert unquote(task["data"]["image"]) == "/data/local-files/?d=" + task["data"]["path"]
    configuration = ElementTree.parse(out.parent / "label-studio.xml")
    assert [one.get("value") for one in configuration.iter("Choice")] == ["red", "green", "blue"]
    (choices,) = configuration.iter("Choices")
    assert (choices.get("name"), choices.get("toName")) == (result["from_name"], result["to_name"])
    (task, *_) = written(out, "label-studio", image_root="https://images.example/")
    assert task["data"]["image"].startswith("https://images.example/")


def test_fiftyone(out: Path, made: Path) -> None:
    pictures = made / "pictures"
    document = written(out, "fiftyone")
    assert document["classes"] == ["red", "green", "blue"]
    wanted = guesses(out)
    found = {
        Path(file).relative_to(pictures).as_posix(): (one["label"], one["confidence"])
        for file, one in document["labels"].items()
    }
    assert found == wanted
    unsure = {r["path"].removeprefix("./") for r in rows(out) if r["label"] == "unsure"}
    assert unsure
    marked = {
        Path(file).relative_to(pictures).as_posix()
        for file, one in document["labels"].items()
        if one["attributes"].get("boatinfer_label") == "unsure"
    }
    assert marked == unsure
    moved = written(out, "fiftyone", image_root="/elsewhere")["labels"]
    assert all(file.startswith("/elsewhere/") for file in moved)


def test_columns_that_later_versions_add_are_carried(out: Path) -> None:
    with_columns(out)
    for entry in written(out, "megadetector")["images"]:
        assert entry["novelty"] == 0.5
        assert entry.get("reviewed") in (None, "yes")
    assert {image["novelty"] for image in written(out, "coco")["images"]} == {0.5}
    tasks = written(out, "label-studio")
    assert {task["data"]["novelty"] for task in tasks} == {0.5}
    labels = written(out, "fiftyone")["labels"]
    assert {one["attributes"]["novelty"] for one in labels.values()} == {0.5}


def test_without_parquet_the_csv_files_do(made: Path, out: Path) -> None:
    wanted = written(out, "coco")["annotations"]
    model = made / "colours.onnx"
    run(RunOptions(made / "pictures", out=out, model=model, parquet=False, **OPTIONS))
    found = written(out, "coco")["annotations"]
    rounded = [one | {"score": round(one["score"], 4)} for one in wanted]
    assert found == rounded


def test_no_images(night: Night, pictures: Path, tmp_path: Path) -> None:
    night()
    for file in pictures.rglob("*.jpg"):
        file.unlink()
    night(allow_empty=True)
    for name in ("megadetector", "coco", "label-studio", "fiftyone", "sqlite"):
        output = tmp_path / f"{name}.json"
        assert export(tmp_path / "out", name, ExportOptions(output=output)).images == 0
        if name != "sqlite":
            assert json.loads(output.read_text()) is not None


def test_other_packages_add_formats(monkeypatch: pytest.MonkeyPatch, out: Path) -> None:
    class Count:
        options = ()

        def write(self, results: Any, options: ExportOptions) -> Written:
            return Written(sum(1 for _ in images(results)), [])

    entry = SimpleNamespace(load=lambda: Count)

    class Entries:
        names = ("count",)

        def select(self, name: str) -> list[Any]:
            return [entry] if name == "count" else []

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: Entries())
    assert export(out, "count", ExportOptions()) == (14, [])
    with pytest.raises(UsageError, match=r"there is no format other; .* xlsx, count"):
        find_format("other")


def test_every_format_is_there_and_needs_nothing_at_first(boatinfer: Command) -> None:
    for name in FORMATS:
        assert find_format(name).options is not None
    shown = boatinfer("results", "--help").out
    assert all(name in shown.replace("\n", " ") for name in FORMATS)


def test_the_spreadsheet_is_that_of_a_run(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    file = tmp_path / "results.xlsx"
    export(out, "xlsx", ExportOptions(output=file))
    book = openpyxl.load_workbook(file, data_only=True)
    assert book.sheetnames == ["review", "predictions", "failures"]
    assert book["predictions"].max_row == 15
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(UsageError, match=r"--to xlsx needs xlsxwriter, .*\[xlsx\]"):
        export(out, "xlsx", ExportOptions(output=tmp_path / "other.xlsx"))
