"""docs/tables.md: its Python runs over a results folder, with the libraries that are installed."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path

import pytest

import colours
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.feature_export import export

TEXT = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()
SECTIONS = {section.split("\n")[0]: section for section in TEXT.split("\n## ")[1:]}
EACH = 3


def _blocks(library: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", SECTIONS[library], re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two models, some with features, a class called NA, an odd name, a failure."""
    folder = tmp_path_factory.mktemp("tables")
    photos = folder / "photos"
    colours.write_pictures(photos, each=EACH)
    (photos / "=1+1.jpg").write_bytes(colours.picture("red", 99))
    (photos / "gone.jpg").write_bytes(colours.picture("red", 98))
    (photos / "broken.jpg").write_bytes(b"no image")
    run(RunOptions(photos, folder / "out", isolate=False, max_failures="9"))
    (photos / "gone.jpg").unlink()
    names = {"classes": ["NA", "green", "blue"]}
    model = colours.write_model(folder / "colours.onnx", colours.card(**names))
    for features in (False, True):
        options = {"features": features, "isolate": False, "max_failures": "9"}
        run(RunOptions(photos, folder / "out", model=model, **options))  # type: ignore[arg-type]
    export(folder / "out", folder / "features.parquet")
    return folder


def _printed(library: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    pytest.importorskip(library.lower())
    monkeypatch.chdir(folder)
    printed = []
    for block in _blocks(library):
        with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(block, "docs/tables.md", "exec"), {})
        printed.append(out.getvalue())
    return printed


def test_pandas(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, probabilities, features, runs = _printed("pandas", folder, monkeypatch)
    assert re.search(rf"^NA +{EACH + 1} ", tables, re.M)
    assert re.search(rf"^blue +{EACH} ", tables, re.M)
    assert re.search(r"^not_an_image +1$", tables, re.M)
    assert re.search(r"^ +NA +green +blue$", probabilities, re.M)
    assert re.search(r"^=1\+1.jpg +0\.\d+ +0\.\d+ +0\.\d+$", probabilities, re.M)
    assert len(re.findall(r"jpg ", probabilities)) == 3 * EACH + 1
    assert features == f"({3 * EACH + 1}, 3) 3\n"
    assert len(re.findall(r"^\d ", runs, re.M)) == 3


def test_polars(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, margins, recorded = _printed("polars", folder, monkeypatch)
    assert "NA" in counts
    assert f"shape: ({3 * EACH + 1}, 6)" in margins
    assert "shape: (3, 4)" in recorded
    column = [line.split("┆")[-1].strip(" │") for line in recorded.splitlines() if "┆" in line]
    assert column[-3:] == ["0", "0", str(3 * EACH + 1)]


def test_duckdb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, highest, earlier = _printed("DuckDB", folder, monkeypatch)
    assert re.search(rf"NA +│ +{EACH + 1} ", counts)
    assert "=1+1.jpg" in highest
    assert "gone.jpg" not in highest
    assert re.search(r"=1\+1\.jpg +│ +0\.99\d+ +│ Moto\w+ +│", earlier)
    assert "gone.jpg" not in earlier
