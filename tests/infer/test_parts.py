from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatinfer.errors import OutputError
from boatinfer.results.integrity import damaged_parts
from boatinfer.results.store.compaction import compact
from boatinfer.results.store.duplicates import ContentIndex
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.parts import WRITING, Parts, number_of
from boatinfer.results.store.rows import VECTORS, Row, matrix, table
from boatinfer.results.store.shards import Shard
from letters import CLASSES, everything, row


@settings(max_examples=30)
@given(st.data())
def test_a_flipped_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    parts = Parts(tmp_path_factory.mktemp("parts"))
    parts.append([row(f"p{i}", i / 50, True) for i in range(50)], CLASSES, "m", "r")
    (file,) = parts.files()
    whole = bytearray(file.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(whole)
    (sentence,) = damaged_parts(parts)
    assert file.name in sentence


def test_a_part_that_is_cut_off_is_named(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.append([row("p", 0.5)], CLASSES, "m", "r")
    (file,) = parts.files()
    file.write_bytes(file.read_bytes()[:-30])
    assert file.name in next(iter(damaged_parts(parts)))
    with pytest.raises(OutputError, match=file.name):
        parts.index()


def test_a_reader_is_told_when_parts_change_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boatinfer.results.store.compaction.MANY_PARTS", 2)
    parts = Parts(tmp_path)
    for number in range(4):
        parts.append([row(f"p{number}", number / 8)], CLASSES, "m", "r")
    index, files = parts.index(), parts.files()
    row_index = RowIndex(parts)
    row_index.read()
    compact(row_index)
    with pytest.raises(OutputError, match="a run is changing the folder"):
        list(parts.read(index, ["path"]))
    monkeypatch.setattr(parts, "files", lambda: files)  # listed just before they went
    with pytest.raises(OutputError, match="a run is changing the folder"):
        parts.index()


def test_the_part_after_a_million_is_the_last(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    for number, value in ((999_999, 0.25), (None, 0.5), (None, 0.75)):
        parts.append([row("p", value)], CLASSES, "m", "r", number)
    assert [number_of(part) for part in parts.files()] == [999_999, 1_000_000, 1_000_001]
    assert everything(parts) == {"p": (0.75, None)}
    row_index = RowIndex(parts)
    row_index.read()
    assert {number: mark.tolist() for number, mark in row_index.row_masks().items()} == {
        999_999: [False],
        1_000_000: [False],
        1_000_001: [True],
    }


def test_a_ledger_forgets_the_rows_of_parts_that_have_gone(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    for name in ("one", "two"):
        parts.append([row("p", 0.25), row(name, 0.5)], CLASSES, "m", "r")
    row_index = RowIndex(parts)
    row_index.read()
    parts.files()[1].unlink()
    parts.append([row("three", 0.75)], CLASSES, "m", "r", 3)
    row_index.read()
    (rows,) = row_index.last_rows(1)
    assert len(rows) == 3
    assert {number: mark.tolist() for number, mark in row_index.row_masks().items()} == {
        1: [True, True],
        3: [True],
    }


@pytest.mark.parametrize("copied", [False, True])
def test_contents_find_rows_and_fill_them_in(tmp_path: Path, copied: bool) -> None:
    parts = Parts(tmp_path)
    kept = [row(f"p{i}", i / 16, True) for i in range(16)]
    parts.append(kept[9:], CLASSES, "m", "one")
    parts.append(kept[:9], CLASSES, "m", "two")
    row_index = RowIndex(parts)
    row_index.read()
    useful = row_index.empty_mask()
    useful[1:] = True  # of the first part all but p9
    useful[8] = False  # and of the second all but p1
    contents = ContentIndex(parts, row_index.row_masks(useful))
    if copied:  # as a worker process gets it
        contents = pickle.loads(pickle.dumps(contents))
    copies = [Row(f"copy{i}", 5, 6, kept[i].content) for i in (3, 12, 3, 0)]
    for copy in copies:
        copy.duplicate_of = contents.find(copy.content or "")
    other = row("other", 0.5)
    contents.fill([*copies, other], features=True)
    assert [copy.run for copy in copies] == ["two", "one", "two", "two"]
    assert [
        copy.probabilities.tolist()[0] for copy in copies if copy.probabilities is not None
    ] == [i / 16 for i in (3, 12, 3, 0)]
    assert [copy.features.tolist() for copy in copies if copy.features is not None] == [
        [i / 16, i / 8] for i in (3, 12, 3, 0)
    ]
    assert other.run is None
    for unknown in ("f" * 32, kept[1].content, kept[9].content):
        assert contents.find(unknown or "") is None
    assert ContentIndex(parts, row_index.row_masks(row_index.empty_mask())).find("0" * 32) is None


def test_matrix_respects_slices() -> None:
    column = pa.chunked_array(
        [pa.FixedSizeListArray.from_arrays(pa.array(range(12), pa.float32()), 3)]
    )
    assert matrix(column.slice(1, 2)).tolist() == [[3, 4, 5], [6, 7, 8]]


def test_a_shard_reads_no_part_that_another_of_its_split_wrote(tmp_path: Path) -> None:
    shards = {name: Shard.parse(name) for name in ("1-of-2", "2-of-2", "1-of-3")}
    for shard in (None, *shards.values()):
        Parts(tmp_path, shard).append([row("p", 0.5)], CLASSES, "m", "r")
    assert len(Parts(tmp_path).files()) == 4
    for name, other in (("1-of-2", "2-of-2"), ("2-of-2", "1-of-2")):
        found = [file.stem for file in Parts(tmp_path, shards[name]).files()]
        assert len(found) == 3
        assert not any(stem.endswith(other) for stem in found)


def _older(rows: list[Row], *asked: str) -> pa.Table:
    """The rows as parts had them before: vectors of a fixed size, and only those asked for."""
    made = table(rows, CLASSES, "m", "r")
    names = ["probabilities", *asked]
    columns = {name: made[name] for name in made.column_names if name not in VECTORS}
    sizes = {"probabilities": len(CLASSES), "features": 2, "svm": 1}
    fixed = {name: made[name].cast(pa.list_(pa.float32(), sizes[name])) for name in names}
    return pa.table(columns | fixed)


def test_any_reader_takes_all_parts_at_once(tmp_path: Path) -> None:
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    parts = Parts(tmp_path)
    parts.append([row("p", 0.25)], CLASSES, "m", "r1")
    parts.append([row("q", 0.5, True), Row("r", 1, 2, status="corrupt")], CLASSES, "m", "r2")
    wide = Row("p", 1, 2, probabilities=np.full(5, 0.2, np.float32), svm=np.ones(4, np.float32))
    parts.append([wide], list("abcde"), "other", "r3")
    glob = str(tmp_path / "*.parquet")
    wanted = [("p", 3, None), ("p", 5, None), ("q", 3, 2), ("r", None, None)]
    found = polars.read_parquet(glob).select(
        "path", polars.col("probabilities").list.len(), polars.col("features").list.len()
    )
    assert sorted(found.rows(), key=str) == wanted
    query = f"SELECT path, len(probabilities), len(features) FROM read_parquet('{glob}')"
    assert sorted(duckdb.sql(query).fetchall(), key=str) == wanted
    assert ds.dataset(tmp_path, exclude_invalid_files=True).to_table().num_rows == 4


@pytest.mark.parametrize("of_the_file", [True, False])
def test_each_row_says_whether_it_has_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_the_file: bool
) -> None:
    parts, failed = Parts(tmp_path), Row("f", 1, 2, status="corrupt")
    parts.append([row("p", 0.5, True), failed], CLASSES, "m", "r")
    parts.append([row("q", 0.5), row("g", 0.5)], CLASSES, "m", "r")
    both = table([row("s", 0.5, True), row("t", 0.5)], CLASSES, "m", "r")
    older = _older([row("u", 0.5, True)], "features")
    for some in (both, older, _older([row("v", 0.5)])):
        with parts.writer() as sink:
            pq.write_table(some, sink, write_statistics=of_the_file, **WRITING)
    index = parts.index()
    has = dict(zip(index["path"].to_pylist(), index["has_features"].to_pylist(), strict=True))
    assert {path for path, there in has.items() if there} == {"p", "s", "u"}
    assert len(has) == 8


def test_merging_brings_older_parts_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boatinfer.results.store.compaction.MANY_PARTS", 4)
    parts = Parts(tmp_path)
    scored = Row("q", 1, 2, probabilities=np.full(3, 0.25, np.float32), svm=np.ones(1, np.float32))
    for older in (_older([row("p", 0.25, True)], "features"), _older([scored], "svm")):
        with parts.writer() as sink:
            pq.write_table(older, sink, **WRITING)
    parts.append([row("s", 0.5)], CLASSES, "m", "r")
    parts.append([row("t", 0.75, True)], CLASSES, "m", "r")
    before = everything(parts)
    assert before["p"] == (0.25, [0.25, 0.5])
    row_index = RowIndex(parts)
    row_index.read()
    compact(row_index)
    (merged,) = parts.files()
    assert pq.read_schema(merged).equals(table([row("s", 0.5)], CLASSES, "m", "r").schema)
    assert everything(parts) == before
