"""The labels ``unsure`` and ``unknown`` in the formats of other tools."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boatinfer.formats import FORMATS, export
from boatinfer.formats.options import ExportOptions
from boatinfer.results.summary import Summary
from support import rows

Night = Callable[..., Summary]


@pytest.fixture
def out(night: Night, tmp_path: Path) -> Path:
    """Twelve images, of which some are unsure."""
    night(min_confidence=0.99884)
    assert {row["label"] == "unsure" for row in rows(tmp_path / "out")} == {True, False}
    return tmp_path / "out"


def content(output: Path) -> str:
    """All text of a file or folder, and its names."""
    files = [output] if output.is_file() else sorted(output.rglob("*"))
    texts = [str(file.relative_to(output.parent)) for file in files]
    for file in files:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as book:
                texts += [book.read(name).decode() for name in book.namelist()]
        elif file.suffix not in ("", ".jpg") or file == output:
            texts.append(file.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(texts)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_label_unsure(out: Path, tmp_path: Path, name: str) -> None:
    if name == "xlsx":
        pytest.importorskip("xlsxwriter")
    places = tmp_path / "places.csv"
    places.write_text("deploymentID,latitude,longitude\nred,1,2\ngreen,1,2\nblue,1,2\n")
    deployments = places if name == "camtrap-dp" else None
    output = tmp_path / "written.json"
    export(out, name, ExportOptions(output=output, deployments=deployments))
    assert "unsure" in content(output)


@pytest.mark.parametrize("name", ["megadetector", "coco", "label-studio", "fiftyone"])
def test_the_label_stands_beside_the_class_of_the_network(
    out: Path, tmp_path: Path, name: str
) -> None:
    file = tmp_path / f"{name}.json"
    export(out, name, ExportOptions(output=file))
    document: Any = json.loads(file.read_text())
    if name == "label-studio":
        found = {task["data"]["path"]: task["data"] for task in document}
    elif name == "fiftyone":
        found = {
            "/".join(Path(path).parts[-2:]): one["attributes"]
            for path, one in document["labels"].items()
        }
    else:
        found = {one.get("file", one.get("file_name")): one for one in document["images"]}
    wanted = {row["path"]: row["label"] for row in rows(out)}
    assert {path: one.get("boatinfer_label") for path, one in found.items()} == {
        path: "unsure" if label == "unsure" else None for path, label in wanted.items()
    }
