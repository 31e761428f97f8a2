from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import colours
from boatinfer import images
from boatinfer.errors import UsageError
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.feature_export import export


@pytest.fixture
def out(pictures: Path, model_file: Path, tmp_path: Path) -> Path:
    """A results folder with features, of one damaged and several sound pictures."""
    (pictures / "bad.jpg").write_text("hello")
    options = RunOptions(pictures, tmp_path / "out", model_file, features=True, max_failures="1")
    run(options)
    (pictures / "=new.jpg").write_bytes(colours.picture("red", seed=9))
    (pictures / "red" / "000.jpg").unlink()
    run(options)
    return tmp_path / "out"


def expected(pictures: Path) -> tuple[list[str], np.ndarray]:
    names = sorted(str(p.relative_to(pictures)) for p in pictures.rglob("*.jpg"))
    names.remove("bad.jpg")
    pixels = [images.read((pictures / name).read_bytes(), colours.SPEC) for name in names]
    return names, np.array([p.mean(axis=(0, 1)) / 255 for p in pixels])


def test_npz_and_npy(out: Path, pictures: Path, tmp_path: Path) -> None:
    names, features = expected(pictures)
    assert export(out, tmp_path / "x.npz") == 12
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["paths"].tolist() == names
        assert arrays["labels"].tolist()[1:5] == ["blue"] * 4
        assert arrays["features"].dtype == np.float32
        assert np.allclose(arrays["features"], features, atol=1e-5)
    export(out, tmp_path / "x.npy")
    assert np.allclose(np.load(tmp_path / "x.npy"), features, atol=1e-5)


def test_csv_and_parquet(out: Path, pictures: Path, tmp_path: Path) -> None:
    names, features = expected(pictures)
    export(out, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["path"].removeprefix("./") for row in found] == names
    assert found[0]["path"] == "./=new.jpg"
    assert np.allclose([[float(r[f"f{i}"]) for i in range(3)] for r in found], features, atol=1e-5)
    export(out, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet").to_pydict()
    assert table["path"] == names
    assert np.allclose(table["features"], features, atol=1e-5)


def test_what_cannot_be_exported_is_said(
    out: Path, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    run(RunOptions(pictures, tmp_path / "bare", model_file, max_failures="1"))
    (tmp_path / "folder.npz").mkdir()
    for source, output, said in [
        (out, "x.txt", r"\.npz, \.npy, \.csv, \.parquet"),
        (out, "nowhere/x.npz", "does not exist"),
        (out, "folder.npz", "folder.npz is a folder"),
        (tmp_path / "nowhere", "x.npz", "there is no folder"),
        (tmp_path / "bare", "x.npz", "without features"),
    ]:
        with pytest.raises(UsageError, match=said):
            export(source, tmp_path / output)
        assert not (tmp_path / output).is_file()


def test_a_file_that_is_there_stays_unless_force_is_given(out: Path, tmp_path: Path) -> None:
    table = (out / "predictions.csv").read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        export(out, out / "predictions.csv")
    assert (out / "predictions.csv").read_bytes() == table
    export(out, tmp_path / "x.npy")
    with pytest.raises(UsageError, match="--force"):
        export(out, tmp_path / "x.npy")
    assert export(out, tmp_path / "x.npy", force=True) == 12
    part = next((out / "parts").iterdir())
    with pytest.raises(UsageError, match="what is to be read"):
        export(out, part, force=True)
