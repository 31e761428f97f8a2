"""Exported results, read by the programs that they are for; `tox -e readers` has these."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import colours
from boatinfer.formats import export
from boatinfer.formats.options import ExportOptions
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from support import rows

ODD = "=1 é'&.jpg"
#: Table schemas of Camtrap DP 1.0.2 for the columns that are written.
SCHEMAS = json.loads((Path(__file__).parent / "camtrap_dp.json").read_text())


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of thirteen classified images and one that failed."""
    folder = tmp_path_factory.mktemp("readers")
    pictures = folder / "pictures"
    colours.write_pictures(pictures, each=4)
    (pictures / ODD).write_bytes(colours.picture("red", seed=60))
    (pictures / "broken.jpg").write_bytes(b"no image")
    model = colours.write_model(folder / "colours.onnx")
    run(RunOptions(pictures, out=folder / "out", model=model, isolate=False, max_failures="9"))
    return folder / "out"


@pytest.fixture
def labels(out: Path) -> dict[str, str]:
    """The label of each classified image."""
    return {row["path"].removeprefix("./"): row["label"] for row in rows(out) if row["label"]}


def write(out: Path, name: str, output: Path, **options: Any) -> Path:
    export(out, name, ExportOptions(output=output, **options))
    return output


def test_megadetector(out: Path, tmp_path: Path) -> None:
    validator = pytest.importorskip("megadetector.postprocessing.validate_batch_results")
    found = validator.validate_batch_results(
        str(write(out, "megadetector", tmp_path / "results.json"))
    )["validation_results"]
    assert (found["errors"], found["warnings"]) == ([], [])
    assert sum(found["classification_category_id_to_count"].values()) == 26


def test_coco(out: Path, tmp_path: Path, labels: dict[str, str]) -> None:
    coco = pytest.importorskip("pycocotools.coco").COCO(
        str(write(out, "coco", tmp_path / "results.json"))
    )
    found = {}
    for category in coco.loadCats(coco.getCatIds()):
        for image in coco.loadImgs(coco.getImgIds(catIds=[category["id"]])):
            found[image["file_name"]] = category["name"]
    assert found == labels
    assert len(coco.getImgIds()) == 14


def test_label_studio(out: Path, tmp_path: Path) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    file = write(out, "label-studio", tmp_path / "tasks.json")
    view = interface.LabelInterface(file.with_suffix(".xml").read_text())
    tasks = json.loads(file.read_text())
    assert len(tasks) == 13
    for task in tasks:
        (prediction,) = task.pop("predictions")  # with them the library raises a TypeError
        assert view.validate_task(task)
        assert view.validate_prediction(prediction)


def test_fiftyone(out: Path, tmp_path: Path, labels: dict[str, str]) -> None:
    importers = pytest.importorskip("fiftyone.utils.data.importers")
    file = write(out, "fiftyone", tmp_path / "labels.json")
    with importers.FiftyOneImageClassificationDatasetImporter(labels_path=str(file)) as importer:
        samples = list(importer)
    found = {
        Path(path).relative_to(out.parent / "pictures").as_posix(): label.label
        for path, _, label in samples
    }
    assert found == labels
    assert all(0 < label.confidence <= 1 for _, _, label in samples)


def test_camtrap_dp(out: Path, tmp_path: Path) -> None:
    frictionless = pytest.importorskip("frictionless")
    places = tmp_path / "places.csv"
    names = ("red", "green", "blue", "pictures")
    lines = "".join(f"{name},45.4,12.3\n" for name in names)
    places.write_text(f"deploymentID,latitude,longitude\n{lines}")
    target = write(out, "camtrap-dp", tmp_path / "package", deployments=places)
    file = target / "datapackage.json"
    document = json.loads(file.read_text())
    for resource in document["resources"]:
        address = f"/tdwg/camtrap-dp/1.0.2/{resource['name']}-table-schema.json"
        assert resource["schema"].endswith(address)
        resource["schema"] = SCHEMAS[resource["name"]]  # no test needs the network
    del document["profile"]
    file.write_text(json.dumps(document))
    report = frictionless.Package(str(file)).validate()
    assert report.flatten(["rowNumber", "fieldName", "message"]) == []
    assert [task.stats["rows"] for task in report.tasks] == [4, 14, 14]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="ExifTool is not installed")
@pytest.mark.parametrize("mode", ["sidecars", "embed", "in_place"])
def test_xmp(out: Path, tmp_path: Path, labels: dict[str, str], mode: str) -> None:
    pictures = out.parent / "pictures"
    before = {file: file.read_bytes() for file in pictures.rglob("*.jpg")}
    target, ending = tmp_path / "xmp", ".xmp" if mode == "sidecars" else ""
    if mode == "in_place":
        target = pictures
        export(out, "xmp", ExportOptions(in_place=True))
        export(out, "xmp", ExportOptions(in_place=True))  # a keyword is there once
    else:
        write(out, "xmp", target, embed=mode == "embed")
    command = ["exiftool", "-j", "-r", "-ext", "xmp", "-ext", "jpg", "-XMP:all", str(target)]
    asked = subprocess.run(command, capture_output=True, check=False).stdout
    found = {
        Path(one["SourceFile"]).relative_to(target).as_posix(): (
            one["Subject"],
            one["HierarchicalSubject"],
        )
        for one in json.loads(asked)
        if "Subject" in one
    }
    assert found == {f"{path}{ending}": (label, label) for path, label in labels.items()}
    if mode == "in_place":
        for file, data in before.items():
            file.write_bytes(data)
    assert {file: file.read_bytes() for file in pictures.rglob("*.jpg")} == before


def test_sqlite(out: Path, tmp_path: Path, labels: dict[str, str]) -> None:
    file = write(out, "sqlite", tmp_path / "results.db")
    query = "SELECT path || char(9) || label FROM images WHERE status = 'ok'"
    program = shutil.which("sqlite3") or pytest.skip("sqlite3 is not installed")
    asked = subprocess.run([program, str(file), query], capture_output=True, check=True)
    found = asked.stdout.decode().splitlines()
    assert dict(line.split("\t") for line in found) == labels
