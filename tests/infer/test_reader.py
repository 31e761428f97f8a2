"""`boatinfer.read_results`: the last complete run as Arrow, pandas and polars, in batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import boatinfer
from boatinfer.errors import OutputError, UsageError
from boatinfer.results.summary import Summary

Night = Callable[..., Summary]


@pytest.fixture
def out(night: Night, pictures: Path, tmp_path: Path) -> Path:
    (pictures / "broken.jpg").write_bytes(b"no image")
    night(features=True, max_failures="9", min_confidence=0.9988)
    return tmp_path / "out"


def test_it_reads_what_predictions_parquet_holds(out: Path) -> None:
    reader = boatinfer.read_results(str(out))
    table = reader.to_arrow()
    assert table.equals(pq.read_table(out / "predictions.parquet"))
    assert reader.columns == table.column_names
    assert reader.classes == ["red", "green", "blue"]
    assert reader.summary.found == 13
    assert [night.found for night in reader.nights()] == [13]
    assert reader.failures()["path"].to_pylist() == ["broken.jpg"]


def test_batches_are_small_and_together_everything(out: Path) -> None:
    reader = boatinfer.read_results(out)
    batches = list(reader.batches(["label", "path"], rows=5))
    assert [batch.num_rows for batch in batches] == [5, 5, 3]
    assert pa.concat_tables(batches).equals(reader.to_arrow(["label", "path"]))
    with pytest.raises(UsageError, match="there is no column weight; there are path, label"):
        next(reader.batches(["weight"]))


def test_data_frames(out: Path) -> None:
    reader = boatinfer.read_results(out)
    pytest.importorskip("pandas")
    frame = reader.to_pandas(["path", "label"])
    assert list(frame.columns) == ["path", "label"]
    assert len(frame) == 13
    pl = pytest.importorskip("polars")
    frame = reader.to_polars()
    assert isinstance(frame, pl.DataFrame)
    assert frame.height == 13
    lazy = reader.to_polars(["path", "status"], lazy=True)
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.filter(pl.col("status") != "ok").collect()["path"].to_list() == ["broken.jpg"]


def test_features(night: Night, out: Path) -> None:
    found = boatinfer.read_results(out).features()
    assert found.vectors.shape == (12, 3)
    assert len(found.paths) == len(found.labels) == 12
    night(model=None, out=out.parent / "without", max_failures="9")
    with pytest.raises(UsageError, match="run again with --features"):
        boatinfer.read_results(out.parent / "without").features()


def test_without_parquet_it_reads_the_csv_files(night: Night, out: Path) -> None:
    wanted = boatinfer.read_results(out).to_arrow(["path", "label", "guess", "error", "status"])
    night(parquet=False, max_failures="9", min_confidence=0.9988)
    reader = boatinfer.read_results(out)
    assert "probabilities" not in reader.columns
    assert reader.to_arrow(wanted.column_names).to_pylist() == wanted.to_pylist()
    frame = reader.to_polars(lazy=True)
    assert frame.lazy().collect().height == 13


def test_no_images_are_an_empty_table(night: Night, pictures: Path, tmp_path: Path) -> None:
    night()
    for file in pictures.rglob("*.jpg"):
        file.unlink()
    night(allow_empty=True)
    reader = boatinfer.read_results(tmp_path / "out")
    assert reader.to_arrow(["path"]).num_rows == 0
    assert next(reader.batches()).column_names == reader.columns


def test_what_cannot_be_read_is_one_sentence(out: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="holds no results"):
        boatinfer.read_results(tmp_path / "other")
    (out / "predictions.parquet").write_bytes(b"no table")
    reader = boatinfer.read_results(out)
    with pytest.raises(OutputError, match=r"predictions.parquet cannot be read .*run again"):
        reader.to_arrow()
