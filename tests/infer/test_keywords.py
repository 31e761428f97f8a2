"""`boatinfer results OUT --to xmp`: keywords in images, and what is replaced."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.errors import UsageError
from boatinfer.formats import exiftool, export, label_studio
from boatinfer.formats.options import ExportOptions
from boatinfer.results.summary import Summary
from boatinfer.text import xml_text
from support import Command, rows

Night = Callable[..., Summary]

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="ExifTool is not installed"
)


def keywords(folder: Path) -> dict[str, list[str]]:
    """The keywords of each image, of both lists."""
    lists = ("Subject", "HierarchicalSubject")
    command = [
        "exiftool",
        "-j",
        "-r",
        "-sep",
        "|",
        *(f"-XMP:{name}" for name in lists),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    return {
        Path(one["SourceFile"]).relative_to(folder).as_posix(): [
            word for name in lists for word in str(one.get(name, "")).split("|") if word
        ]
        for one in json.loads(done.stdout)
    }


@needs_exiftool
def test_a_label_in_an_image_replaces_an_earlier_one(
    boatinfer: Command, night: Night, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    exiftool.replace_keywords([(file, "blue") for file in pictures.rglob("*.jpg")], [])
    exiftool.replace_keywords([(pictures / "red" / "000.jpg", "mine")], [])
    exiftool.replace_keywords([(pictures / "red" / "001.jpg", "unsure")], [])
    night()
    labels = {row["path"]: row["label"] for row in rows(out)}
    done = boatinfer("results", out, "--to", "xmp", "--in-place")
    assert (done.code, done.out) == (0, f"12 images: {pictures}\n")
    found = keywords(pictures)
    assert sorted(found.pop("red/000.jpg")) == ["mine", "mine", "red", "red"]
    assert found == {path: [label] * 2 for path, label in labels.items() if path != "red/000.jpg"}


@needs_exiftool
def test_labels_for_review_are_in_no_original(night: Night, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exiftool.replace_keywords([(file, "green") for file in pictures.rglob("*.jpg")], [])
    night(min_confidence=0.99884)
    labels = {row["path"]: row["label"] for row in rows(out)}
    assert "unsure" in labels.values()
    export(out, "xmp", ExportOptions(output=tmp_path / "copies", embed=True))
    assert keywords(tmp_path / "copies") == {path: [label] * 2 for path, label in labels.items()}
    export(out, "xmp", ExportOptions(in_place=True))
    assert keywords(pictures) == {
        path: [] if label == "unsure" else [label] * 2 for path, label in labels.items()
    }


def test_a_folder_of_our_sidecars_alone_is_replaced(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    night()
    options = ExportOptions(output=tmp_path / "sidecars", overwrite=True)
    for _ in range(2):
        assert export(tmp_path / "out", "xmp", options).images == 12
    (pictures / "red" / "000.jpg").unlink()
    night()
    assert export(tmp_path / "out", "xmp", options).images == 11
    assert not (options.target / "red" / "000.jpg.xmp").exists()
    with pytest.raises(UsageError, match="exists already"):
        export(tmp_path / "out", "xmp", ExportOptions(output=options.target))
    (options.target / "red" / "001.jpg.xmp").write_text("<x:xmpmeta>of darktable</x:xmpmeta>")
    with pytest.raises(UsageError, match="holds other files"):
        export(tmp_path / "out", "xmp", options)
    assert "darktable" in (options.target / "red" / "001.jpg.xmp").read_text()


@pytest.mark.parametrize("other", ["--finish", "--verify", "--moved=x", "--undo=x", "--json"])
def test_a_format_goes_with_nothing_else(boatinfer: Command, tmp_path: Path, other: str) -> None:
    done = boatinfer("results", tmp_path, "--to", "coco", "-o", tmp_path / "x", other)
    name = other.partition("=")[0]
    assert (done.code, done.out) == (2, "")
    assert f"--to and {name} do not go together; give one of them." in done.err
    assert done.err.count("\n") == 1


@given(st.text(st.characters()))
def test_text_for_xml_can_be_read(text: str) -> None:
    left = xml_text(text + "\x00\x0b\ufffe\ud800")
    assert left == xml_text(left)
    configuration = ElementTree.fromstring(label_studio._configuration([text]))
    (choice,) = configuration.iter("Choice")
    assert choice.get("value") == xml_text(text)


def test_control_characters_are_in_no_sidecar(night: Night, tmp_path: Path) -> None:
    night()
    file = tmp_path / "out" / "predictions.parquet"
    table = pq.read_table(file)
    table = table.append_column("note", pa.array(["a\x01\x0bb"] * table.num_rows))
    label = table.column_names.index("label")
    table = table.set_column(label, "label", pa.array(["re\x02d"] * table.num_rows))
    pq.write_table(table, file)
    export(tmp_path / "out", "xmp", ExportOptions(output=tmp_path / "sidecars"))
    for made in (tmp_path / "sidecars").rglob("*.xmp"):
        text = "".join(ElementTree.parse(made).getroot().itertext())
        assert text.split() == ["red", "red"]
        assert 'boatinfer:note="ab"' in made.read_text()
