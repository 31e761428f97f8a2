"""predictions.parquet: the state of the last run, whole, for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import colours
from boatinfer.pipeline.merge_shards import finish
from boatinfer.results.folder import Results
from boatinfer.results.integrity import find_damage
from boatinfer.results.store.rows import matrix
from boatinfer.results.summary import Summary
from boatinfer.results.tables import external_sort, whole
from boatinfer.results.tables.external_sort import Sorter
from support import rows

Night = Callable[..., Summary]


def in_shards(night: Night, count: int, **changes: Any) -> None:
    for number in range(1, count + 1):
        assert night(shard=f"{number}/{count}", **changes).exit_code == 0
    finish(changes["out"])


def whole_table(out: Path) -> pa.Table:
    return pq.read_table(out / "predictions.parquet")


def parts_of(out: Path) -> dict[str, dict[str, Any]]:
    """The last row of each path in the parts, read by pyarrow alone."""
    files = sorted((out / "parts").glob("*.parquet"))
    return {row["path"]: row for file in files for row in pq.read_table(file).to_pylist()}


def test_it_has_what_parts_and_csv_have(night: Night, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    night()
    (pictures / "=1.jpg").write_bytes(colours.picture("red", seed=77))
    (pictures / "broken.jpg").write_bytes(b"no image")
    summary = night(features=True, top=3, min_confidence=0.999, max_failures="9")
    table, parts = whole_table(out), parts_of(out)
    listed = rows(out)
    assert table.column_names == [*listed[0], "model", "error", "probabilities", "features"]
    assert summary.tables.keys() >= {"predictions.parquet"}
    assert not list(find_damage(Results(out)))
    for found, csv in zip(table.to_pylist(), listed, strict=True):
        part = parts[found["path"]]
        assert csv["path"].removeprefix("./") == found["path"]
        for name in ("probabilities", "features", "error", "status", "run"):
            assert found[name] == part[name]
        assert found["guess"] == part["label"]
        assert found["confidence"] == part["confidence"]  # with all digits
        assert found["model"] == summary.model
        for name in ("label", "second_label", "status", "run", "guess"):
            assert (found[name] or "") == csv[name]
        for name in ("confidence", "third_confidence"):
            assert csv[name] == ("" if found[name] is None else f"{round(found[name], 4):g}")
        assert str(found["new"]).lower() == csv["new"]
    metadata = pq.read_schema(out / "predictions.parquet").metadata
    assert json.loads(metadata[b"boatinfer.classes"]) == ["red", "green", "blue"]


def test_features_are_there_if_the_run_kept_them(night: Night, tmp_path: Path) -> None:
    night()
    without = whole_table(tmp_path / "out")
    assert without["features"].null_count == without.num_rows == 12
    night(features=True)
    kept = whole_table(tmp_path / "out")
    assert kept.schema == without.schema
    assert matrix(kept["features"]).shape == (12, 3)
    night()  # the parts have them still, and this run did not ask
    assert whole_table(tmp_path / "out")["features"].null_count == 12


def test_shards_write_the_same(night: Night, pictures: Path, tmp_path: Path) -> None:
    (pictures / "broken.jpg").write_bytes(b"no image")
    options = {"features": True, "max_failures": "9"}
    night(**options)
    in_shards(night, 3, out=tmp_path / "sharded", **options)
    wanted, found = (whole_table(tmp_path / name).drop("run") for name in ("out", "sharded"))
    assert found.equals(wanted)
    assert not list(find_damage(Results(tmp_path / "sharded")))


def test_without_it_that_of_an_earlier_run_goes(night: Night, tmp_path: Path) -> None:
    file = tmp_path / "out" / "predictions.parquet"
    night()
    assert file.exists()
    summary = night(parquet=False)
    assert not file.exists()
    assert "predictions.parquet" not in summary.tables
    assert not list(find_damage(Results(tmp_path / "out")))
    in_shards(night, 2, out=tmp_path / "sharded", parquet=False)
    assert not (tmp_path / "sharded" / "predictions.parquet").exists()


def test_verify_names_a_changed_one(night: Night, tmp_path: Path) -> None:
    night()
    file = tmp_path / "out" / "predictions.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    (sentence,) = find_damage(Results(tmp_path / "out"))
    assert "predictions.parquet is not as the last complete run wrote it" in sentence


def test_wide_rows_are_sorted_on_disk_and_written_group_by_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_GROUP_BYTES", 40_000)
    monkeypatch.setattr(external_sort, "_LEAST_STEP", 2)
    largest = 0

    def wide(names: list[str]) -> pa.Table:
        vectors = [[float(name[1:])] * 500 for name in names]
        columns = {"path": names, "error": [None] * len(names), "probabilities": vectors}
        return pa.table({name: pa.array(column) for name, column in columns.items()})

    def watched(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        nonlocal largest
        for table in tables:
            largest = max(largest, table.num_rows)
            yield table

    order = [f"p{number:04d}" for number in np.random.default_rng(0).permutation(2000)]
    sorter = Sorter(["path"], tmp_path, 100_000)
    for start in range(0, 2000, 10):
        sorter.add(wide(order[start : start + 10]).cast(_schema()))
    summary = Summary(run="r", folder="f", started="2026-04-01T00:00:00+00:00")
    whole.write_whole(tmp_path / "p.parquet", watched(sorter.tables()), summary)
    found = pq.ParquetFile(tmp_path / "p.parquet")
    assert found.num_row_groups > 10
    assert largest <= 100
    table = found.read()
    assert table["path"].to_pylist() == sorted(order)
    assert matrix(table["probabilities"])[:, 499].tolist() == list(range(2000))


def _schema() -> pa.Schema:
    vector = pa.list_(pa.float32())
    return pa.schema([("path", pa.string()), ("error", pa.string()), ("probabilities", vector)])
