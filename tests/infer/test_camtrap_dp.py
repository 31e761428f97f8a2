"""`boatinfer results OUT --to camtrap-dp`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

import colours
from boatinfer.errors import UsageError
from boatinfer.formats import export
from boatinfer.formats.options import ExportOptions
from boatinfer.results.summary import Summary
from support import rows

Night = Callable[..., Summary]

#: What the standard requires of a time and of a relative path.
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)"
PATH = r"^(?=^[^./~])(^((?!\.{2}).)*$).*$"


def dated(file: Path, taken: str, offset: str | None, latitude: float | None = None) -> None:
    """Gives an image EXIF data."""
    with Image.open(file) as image:
        exif = image.getexif()
        details = exif.get_ifd(ExifTags.IFD.Exif)
        details[ExifTags.Base.DateTimeOriginal] = taken
        if offset:
            details[ExifTags.Base.OffsetTimeOriginal] = offset
        if latitude is not None:
            gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
            for tag, value, way in ((2, latitude, "N"), (4, 12.5, "E")):
                gps[tag], gps[tag - 1] = (value, 0.0, 0.0), way
        exif[ExifTags.Base.Model] = "Trap 3"
        image.save(file, quality=95, exif=exif)


@pytest.fixture
def out(night: Night, pictures: Path, tmp_path: Path) -> Path:
    for number, file in enumerate(sorted(pictures.rglob("*.jpg"))):
        offset = None if file.parent.name == "blue" else "+02:00"
        place = 45.0 if file.parent.name == "red" and number % 2 else None
        dated(file, f"2026:04:01 {number:02d}:00:00", offset, place)
    (pictures / "so..odd.jpg").write_bytes(colours.picture("red", seed=70))
    (pictures / "broken.jpg").write_bytes(b"no image")
    night(max_failures="9", title="Our reserve")
    return tmp_path / "out"


@pytest.fixture
def places(tmp_path: Path) -> Path:
    file = tmp_path / "places.csv"
    header = "deploymentID,latitude,longitude,locationName\n"
    file.write_text(header + "blue,46,13,Ford\ngreen,46.5,13.5,\npictures,47,14,Gate\n")
    return file


def test_a_package_has_a_deployment_a_folder_and_every_image(
    out: Path, places: Path, tmp_path: Path
) -> None:
    target = tmp_path / "package"
    made = export(out, "camtrap-dp", ExportOptions(output=target, deployments=places))
    assert made.images == 14
    assert "timestampIssues" in made.remarks[0]
    deployments = {row["deploymentID"]: row for row in rows(target, "deployments.csv")}
    assert {name: row["latitude"] for name, row in deployments.items()} == {
        **{"blue": "46", "green": "46.5", "pictures": "47", "red": "45.0"}
    }
    assert deployments["blue"]["locationName"] == "Ford"
    assert deployments["blue"]["cameraModel"] == "Trap 3"
    assert deployments["blue"]["deploymentStart"] == "2026-04-01T00:00:00Z"
    assert deployments["blue"]["deploymentEnd"] == "2026-04-01T03:00:00Z"
    assert deployments["blue"]["timestampIssues"] == "true"
    assert deployments["green"]["timestampIssues"] == ""
    media, seen = (rows(target, f"{name}.csv") for name in ("media", "observations"))
    assert [row["mediaID"] for row in media] == [row["mediaID"] for row in seen]
    assert {row["mediaID"] for row in media} == {row["path"] for row in rows(out)}
    for row, observation in zip(media, seen, strict=True):
        assert re.fullmatch(TIME, row["timestamp"])
        assert re.fullmatch(PATH, row["filePath"])
        assert observation["eventStart"] == row["timestamp"]
        assert row["deploymentID"] in deployments
    times = {row["mediaID"]: row["timestamp"] for row in media}
    assert times["red/003.jpg"] == "2026-04-01T11:00:00+02:00"


def test_observations_say_what_the_model_says(
    night: Night, out: Path, places: Path, tmp_path: Path
) -> None:
    types = tmp_path / "types.csv"
    types.write_text(
        "label,type,scientific_name\nred,animal,Vulpes vulpes\ngreen,human,\nblue,blank,x\n"
    )
    target = tmp_path / "package"
    options = ExportOptions(output=target, deployments=places, class_types=types)
    export(out, "camtrap-dp", options)
    listed = {row["path"]: row for row in rows(out)}
    kinds = {"red": "animal", "green": "human", "blue": "blank", "": "unclassified"}
    for row in rows(target, "observations.csv"):
        csv = listed[row["mediaID"]]
        assert row["observationType"] == kinds[csv["label"]]
        assert row["scientificName"] == ("Vulpes vulpes" if csv["label"] == "red" else "")
        if csv["label"]:
            found = float(row["classificationProbability"])
            assert found == pytest.approx(float(csv["confidence"]), abs=1e-4)
            assert (row["classificationMethod"], row["classifiedBy"]) == ("machine", "colours")
            assert f"label:{csv['label']}" in row["observationTags"].split("|")
    comments = {row["mediaID"]: row["mediaComments"] for row in rows(target, "media.csv")}
    others = "timestamp of the last change of the file"
    failed = comments.pop("broken.jpg")
    assert (failed.startswith("not_an_image: "), failed.endswith(f"; {others}")) == (True, True)
    assert {path for path, comment in comments.items() if comment} == {"so..odd.jpg"}
    assert comments["so..odd.jpg"] == others
    issues = {r["deploymentID"]: r["timestampIssues"] for r in rows(target, "deployments.csv")}
    assert issues == {"blue": "true", "green": "", "pictures": "true", "red": ""}
    document = json.loads((target / "datapackage.json").read_text())
    assert document["taxonomic"] == [{"scientificName": "Vulpes vulpes"}]
    assert (document["title"], document["name"]) == ("Our reserve", "our-reserve")
    assert document["spatial"]["bbox"] == [12.5, 45.0, 14.0, 47.0]
    assert document["temporal"]["start"] == "2026-04-01"
    night(max_failures="9", min_confidence=1.0)
    export(out, "camtrap-dp", ExportOptions(output=target, deployments=places, overwrite=True))
    types_now = {row["observationType"] for row in rows(target, "observations.csv")}
    assert types_now == {"unknown", "unclassified"}


def test_columns_of_the_rows_come_before_the_files(out: Path, places: Path, tmp_path: Path) -> None:
    file = out / "predictions.parquet"
    table = pq.read_table(file)
    taken = pa.array(["2020-05-05T05:05:05+00:00"] * table.num_rows)
    novelty = pa.array([0.5] * table.num_rows)
    pq.write_table(table.append_column("taken", taken).append_column("novelty", novelty), file)
    target = tmp_path / "package"
    with pytest.raises(UsageError, match="the place of red is not known"):  # nothing is read
        export(out, "camtrap-dp", ExportOptions(output=target, deployments=places))
    places.write_text(places.read_text() + "red,1,1,\n")
    export(out, "camtrap-dp", ExportOptions(output=target, deployments=places))
    assert {row["timestamp"] for row in rows(target, "media.csv")} == {"2020-05-05T05:05:05Z"}
    tags = [row["observationTags"] for row in rows(target, "observations.csv")]
    assert sum("novelty:0.5" in text for text in tags) == 13


def test_an_image_that_is_gone_is_left_out(
    out: Path, pictures: Path, places: Path, tmp_path: Path
) -> None:
    (pictures / "red" / "000.jpg").unlink()
    target = tmp_path / "package"
    made = export(out, "camtrap-dp", ExportOptions(output=target, deployments=places))
    assert made.images == 13
    assert "Left out: 1 image now gone." in made.remarks


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "the place of blue and 2 more is not known; give a CSV file"),
        ("deploymentID,latitude,longitude\nblue,91,0\n", r"places.csv, line 2: give deploymentID"),
        ("deploymentID,latitude,longitude\nblue,45,\n", "line 2"),
        ("latitude,longitude\n45,1\n", "line 2"),
        ("\xff", "cannot be read"),
    ],
)
def test_places_that_are_missing_or_wrong_are_one_sentence(
    out: Path, places: Path, tmp_path: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        places.write_text(text, encoding="latin-1")
    target = tmp_path / "package"
    options = ExportOptions(output=target, deployments=None if text is None else places)
    with pytest.raises(UsageError, match=sentence):
        export(out, "camtrap-dp", options)
    assert not target.exists()
