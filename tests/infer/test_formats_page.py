"""docs/formats.md: its commands in their order, and its Python; docs/results.ipynb likewise."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import colours
from boatinfer.formats.options import ExportOptions
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.reader import read_results
from support import Command

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "formats.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos and their results, which is the working folder."""
    for name, sites in (("red", "north"), ("blue", "south")):
        (tmp_path / "photos" / sites).mkdir(parents=True)
        for number in range(2):
            file = tmp_path / "photos" / sites / f"{number}.jpg"
            file.write_bytes(colours.picture(name, number))
    monkeypatch.chdir(tmp_path)
    model = colours.write_model(tmp_path / "colours.onnx")
    options: dict[str, Any] = {"features": True, "isolate": False}
    run(RunOptions(Path("photos"), out=Path("out"), model=model, **options))
    return tmp_path


def test_every_command_does_what_it_says(
    boatinfer: Command, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xlsxwriter")
    types, places = _blocks("csv")
    Path("types.csv").write_text(types)
    Path("places.csv").write_text(places)
    lines = [line for block in _blocks("console") for line in block.splitlines()]
    assert len(lines) == 13
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "boatinfer"
        done = boatinfer(*arguments)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("4 ")
    made = {"results.json", "package", "coco.json", "tasks.xml", "labels.json", "results.db"}
    assert made | {"results.xlsx", "sidecars"} <= {path.name for path in there.iterdir()}
    assert not Path("by-class-again").exists()


def test_a_format_of_ones_own(there: Path) -> None:
    (block,) = _blocks("python")
    names: dict[str, Any] = {}
    exec(compile(block, "docs/formats.md", "exec"), names)
    write: Callable[..., Any] = names["Paths"]().write
    assert write(read_results("out"), ExportOptions(output=there / "paths.txt")) == (4, [])
    assert Path("paths.txt").read_text().splitlines()[0] == "north/0.jpg\tred"


def test_the_notebook_runs(there: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    notebook = json.loads((DOCS / "results.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                assert (cell["outputs"], cell["execution_count"]) == ([], None)
                exec(compile("".join(cell["source"]), "docs/results.ipynb", "exec"), names)
    printed = out.getvalue()
    assert "4 images" in printed
    assert re.search(r"red +2", printed)
    assert "(4, 3)" in printed
