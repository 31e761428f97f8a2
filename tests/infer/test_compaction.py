from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.results.integrity import damaged_parts
from boatinfer.results.store import compaction as module
from boatinfer.results.store.compaction import compact
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.parts import Parts
from boatinfer.results.store.shards import Shard
from letters import CLASSES, everything, row


def row_index(parts: Parts) -> RowIndex:
    said = RowIndex(parts)
    said.read()
    return said


def merge(parts: Parts, found: set[str] | None) -> None:
    """Merges after a run that found these images, or that did not look for all."""
    if found is None:
        compact(row_index(parts))
        return
    index, said = parts.index(), row_index(parts)
    rows = index.filter(pc.is_in(index["path"], pa.array(sorted(found), pa.string())))
    compact(said, said.masks_of(rows))


writes = st.lists(
    st.tuples(st.sampled_from("pqrstu"), st.integers(0, 8), st.booleans()), min_size=1, max_size=4
)


@given(st.lists(writes, min_size=1, max_size=12))
def test_the_last_row_of_a_path_counts_before_and_after_merging(
    tmp_path_factory: pytest.TempPathFactory, history: list[list[tuple[str, int, bool]]]
) -> None:
    parts = Parts(tmp_path_factory.mktemp("parts"))
    wanted: dict[str, tuple[float, list[float] | None]] = {}
    for number, batch in enumerate(history):
        features = batch[0][2]
        fresh = {path: value / 8 for path, value, _ in batch}
        parts.append([row(p, v, features) for p, v in fresh.items()], CLASSES, "m", f"r{number}")
        wanted |= {p: (v, [v, 2 * v] if features else None) for p, v in fresh.items()}
    assert everything(parts) == wanted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MANY_PARTS", 3)
        patch.setattr(module, "FULL_PART", 3)
        compact(row_index(parts))
    assert everything(parts) == wanted
    parts.append([row("p", 0.5)], CLASSES, "m", "later")
    assert everything(parts)["p"] == (0.5, None)


def test_merging_makes_few_parts_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path)
    for number in range(module.MANY_PARTS - 1):
        parts.append([row(f"p{number}", 0.25)], CLASSES, "m", "r")
    compact(row_index(parts))
    assert len(parts.files()) == module.MANY_PARTS - 1
    parts.append([row("last", 0.25)], CLASSES, "m", "r")
    compact(row_index(parts))
    assert len(parts.files()) == 1
    assert len(everything(parts)) == module.MANY_PARTS


@pytest.mark.parametrize("crash", range(6))
def test_a_crash_while_merging_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    monkeypatch.setattr(module, "MANY_PARTS", 2)
    monkeypatch.setattr(module, "FULL_PART", 4)
    steps = itertools.count()
    parts = Parts(tmp_path)
    for number in range(6):
        parts.append([row(f"p{number}", 0.25), row("q", number / 8)], CLASSES, "m", "r")
    wanted = everything(parts)
    unlink = Path.unlink

    def stop(self: Path, missing_ok: bool = False) -> None:
        if self.suffix == ".parquet" and next(steps) == crash:
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    with monkeypatch.context() as crashing:
        crashing.setattr(Path, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            compact(row_index(parts))
    assert everything(parts) == wanted
    compact(row_index(parts))
    assert everything(parts) == wanted
    assert len(parts.files()) == 2


def test_big_parts_stay_as_they_are_until_most_of_them_is_outdated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY_PARTS", 2)
    monkeypatch.setattr(module, "FULL_PART", 4)
    parts = Parts(tmp_path)
    parts.append([row(f"p{i}", 0.25) for i in range(8)], CLASSES, "m", "r")
    (big,) = parts.files()
    for number in range(3):
        parts.append([row(f"p{number}", 0.5)], CLASSES, "m", "r")
    compact(row_index(parts))
    assert big in parts.files()
    assert len(parts.files()) == 2
    parts.append([row(f"p{i}", 0.75) for i in range(6)], CLASSES, "m", "r")
    parts.append([row("p6", 0.75)], CLASSES, "m", "r")
    compact(row_index(parts))
    assert big not in parts.files()
    assert {value for value, _ in everything(parts).values()} == {0.25, 0.75}


def test_a_big_part_of_which_half_is_outdated_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY_PARTS", 2)
    monkeypatch.setattr(module, "FULL_PART", 4)
    parts = Parts(tmp_path)
    parts.append([row(f"p{i}", 0.25) for i in range(8)], CLASSES, "m", "r")
    (big,) = parts.files()
    for number, stays in [(0, True), (1, True), (2, True), (3, True), (4, False)]:
        for _ in range(2):  # two small ones, that there is something to merge
            parts.append([row(f"p{number}", 0.5)], CLASSES, "m", "r")
        compact(row_index(parts))
        assert (big in parts.files()) == stays


nights = st.lists(
    st.tuples(st.sets(st.sampled_from("pqrst")), st.booleans()), min_size=1, max_size=8
)


@given(nights)
def test_rows_of_images_that_have_gone_outlive_one_merge_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[set[str], bool]]
) -> None:
    parts = Parts(tmp_path_factory.mktemp("parts"))
    gone: dict[str, bool] = {}  # of every row, whether it was gone at the last merge
    for there, all_looked_for in history:
        if new := there - set(gone):
            parts.append([row(path, 0.5) for path in sorted(new)], CLASSES, "m", "r")
            gone |= dict.fromkeys(new, False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "MANY_PARTS", 1)
            merge(parts, there if all_looked_for else None)
        if all_looked_for:
            gone = {path: path not in there for path in gone if path in there or not gone[path]}
        assert set(everything(parts)) == set(gone)
        assert not list(damaged_parts(parts))


def test_a_crash_brings_back_what_was_forgotten_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY_PARTS", 1)
    parts = Parts(tmp_path)
    parts.append([row("here", 0.5), row("gone", 0.25)], CLASSES, "m", "r")

    merge(parts, {"here"})
    with monkeypatch.context() as crashing:
        crashing.setattr(Path, "unlink", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            merge(parts, {"here"})
    assert set(everything(parts)) == {"here", "gone"}
    merge(parts, {"here"})
    assert set(everything(parts)) == {"here"}


def test_merging_keeps_a_row_of_each_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY_PARTS", 2)
    parts = Parts(tmp_path)
    for model in ("ours", "another", "a third"):
        for run in ("early", "late"):
            parts.append([row("p", 0.5)], CLASSES, model, run)
    said = RowIndex(parts, "ours")
    said.read()
    compact(said)
    (part,) = parts.files()
    (table,) = parts.read(parts.read_light(part), ["model", "run"])
    kept = {(found["model"], found["run"]) for found in table.to_pylist()}
    assert kept == {(model, "late") for model in ("ours", "another", "a third")}


def test_a_shard_merges_no_part_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which others read; its own have no row but those of its images."""
    monkeypatch.setattr(module, "MANY_PARTS", 2)
    letters = "pqrstuvw"
    Parts(tmp_path).append([row(path, 0.25) for path in letters], CLASSES, "m", "undivided")
    for number in (1, 2, 3):
        shard = Shard(3, number)
        if own := [row(path, 0.5) for path in letters if shard.contains(path)]:
            Parts(tmp_path, shard).append(own, CLASSES, "m", "of three")
    wanted = everything(Parts(tmp_path))
    for number in (1, 2):
        shard = Shard(2, number)
        parts = Parts(tmp_path, shard)
        for path in (path for path in letters if shard.contains(path)):
            parts.append([row(path, 0.75)], CLASSES, "m", "of two")
            wanted[path] = 0.75, None
        before = [file for file in tmp_path.iterdir() if shard.name not in file.name]
        compact(row_index(parts))
        (merged,) = set(tmp_path.iterdir()) - set(before)
        assert shard.name in merged.name
        assert all(file.exists() for file in before)
    assert everything(Parts(tmp_path)) == wanted


def test_merged_parts_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path)
    for number in range(3):
        rows = [row(f"{number}-{i}" * 20, i / 500) for i in range(500)]
        parts.append(rows, CLASSES, "m", "r")
    full = 2 * max(file.stat().st_size for file in parts.files()) + 2  # all are small
    monkeypatch.setattr(module, "MANY_PARTS", 2)
    monkeypatch.setattr(module, "FULL_BYTES", full)
    before = everything(parts)
    compact(row_index(parts))
    assert len(parts.files()) == 3
    assert everything(parts) == before
    monkeypatch.setattr(module, "FULL_BYTES", 2**26)
    compact(row_index(parts))
    assert len(parts.files()) == 1
