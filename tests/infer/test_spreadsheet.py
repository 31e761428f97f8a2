"""predictions.xlsx, as openpyxl reads it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

import colours
from boatinfer.errors import UsageError
from boatinfer.pipeline.merge_shards import finish
from boatinfer.results.folder import Results
from boatinfer.results.integrity import find_damage
from boatinfer.results.summary import Summary
from boatinfer.results.tables import spreadsheet
from support import rows

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("xlsxwriter")

Night = Callable[..., Summary]


def sheets(out: Path, values: bool = True) -> dict[str, list[tuple[Any, ...]]]:
    book = openpyxl.load_workbook(out / "predictions.xlsx", data_only=values)
    return {sheet.title: list(sheet.values) for sheet in book}


@pytest.fixture
def odd(pictures: Path) -> Path:
    """Images whose names are formulas, have quotes, or are long."""
    for number, name in enumerate(('=1+1 "a".jpg', "è #1 %41.jpg", "x" * 240 + ".jpg")):
        (pictures / name).write_bytes(colours.picture("red", seed=60 + number))
    (pictures / "broken.jpg").write_bytes(b"no image")
    return pictures


@pytest.mark.skipif(sys.platform == "win32", reason="no name has a control character there")
def test_control_characters_in_names_leave_the_sheet_readable(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    for number, name in enumerate(("bell\a.jpg", "escape\x1b.jpg")):
        (pictures / name).write_bytes(colours.picture("red", seed=80 + number))
    night(xlsx=True)
    paths = {row[0] for row in sheets(tmp_path / "out")["predictions"]}
    assert {"bell\\x07.jpg", "escape\\x1b.jpg"} <= paths


def test_the_sheets_are_the_tables(night: Night, odd: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = night(xlsx=True, min_confidence=0.99884, max_failures="9")
    found = sheets(out)
    assert list(found) == ["review", "predictions", "failures"]
    for name, cells in found.items():
        listed = rows(out, f"{name}.csv")
        assert list(cells[0]) == list(listed[0])
        for row, csv in zip(cells[1:], listed, strict=True):
            sheet = dict(zip(cells[0], row, strict=True))
            assert sheet["path"] == csv["path"].removeprefix("./")
            assert sheet.get("label") == (csv.get("label") or None)
            if csv.get("confidence"):
                assert sheet["confidence"] == float(csv["confidence"])
            assert sheet["new"] is (csv["new"] == "true")
            started = datetime.fromisoformat(summary.started).astimezone().replace(tzinfo=None)
            when = sheet["run"] if "run" in sheet else sheet["since"]
            assert abs((when - started).total_seconds()) < 1.1
    assert "predictions.xlsx" in summary.tables
    assert not list(find_damage(Results(out)))


@pytest.mark.skipif(sys.platform == "win32", reason="these names are none there")
def test_paths_are_links_to_the_images(night: Night, odd: Path, tmp_path: Path) -> None:
    night(xlsx=True, max_failures="9")
    linked = {}
    for row, formula in zip(
        sheets(tmp_path / "out")["predictions"][1:],
        sheets(tmp_path / "out", values=False)["predictions"][1:],
        strict=True,
    ):
        link = re.fullmatch(r'=HYPERLINK\("(file://[^"]+)",".*"\)', formula[0])
        if link:
            linked[row[0]] = unquote_to_bytes(urlsplit(link[1]).path).decode()
    assert linked.keys() == {name for name in _names(odd) if len(name) < 200}
    for path, target in linked.items():
        assert Path(target).samefile(odd / path)


def _names(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*.jpg")}


def test_more_rows_than_a_sheet_holds_get_another(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreadsheet, "MAX_ROWS", 6)
    night(xlsx=True)
    found = sheets(tmp_path / "out")
    names = [name for name in found if name.startswith("predictions")]
    assert names == ["predictions", "predictions 2", "predictions 3"]
    paths = [row[0] for name in names for row in found[name][1:]]
    assert paths == [row["path"] for row in rows(tmp_path / "out")]


def test_shards_write_it_and_a_run_without_it_removes_it(night: Night, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (1, 2):
        night(shard=f"{number}/2", xlsx=True)
    finish(out)
    assert len(sheets(out)["predictions"]) == 13
    night()
    assert not (out / "predictions.xlsx").exists()
    assert not list(find_damage(Results(out)))


def test_without_the_writer_no_run_begins(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(UsageError, match=r"--xlsx needs xlsxwriter, .*\[xlsx\]"):
        night(xlsx=True)
    assert not (tmp_path / "out").exists()
