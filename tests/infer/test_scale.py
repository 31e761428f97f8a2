"""What has no room in memory is worked on slice by slice, and comes out the same."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import colours
from boatinfer.errors import OutputError
from boatinfer.pipeline.merge_shards import finish
from boatinfer.pipeline.selection import Selection
from boatinfer.results import proof
from boatinfer.results.folder import Results
from boatinfer.results.integrity import find_damage
from boatinfer.results.store.keyed_arrays import (
    KEY,
    KeyedArrays,
    KeyIndex,
    duplicate_mask,
    join_keys,
    keys,
)
from boatinfer.results.summary import Summary
from boatinfer.results.tables.external_sort import Sorter, merged
from boatinfer.storage.listing import ListedFile
from support import counts, outcomes

TABLES = ("predictions.csv", "failures.csv", "review.csv")
NUMBERED = np.dtype([*KEY.descr, ("number", np.int64)])

names = st.text("abc", max_size=3)
added = st.lists(st.lists(names, max_size=5), max_size=8)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if three rows were many."""
    monkeypatch.setattr("boatinfer.storage.mapped_files.MAX_ROWS_IN_MEMORY", 3)


@contextlib.contextmanager
def room_for(rows: int) -> Iterator[None]:
    """Hypothesis wants no fixture that is made once for all examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("boatinfer.storage.mapped_files.MAX_ROWS_IN_MEMORY", rows)
        yield


def recorded(batches: list[list[str]], disk: Path) -> KeyedArrays:
    records, numbers = KeyedArrays(NUMBERED, disk), itertools.count()
    for batch in batches:
        places = np.fromiter(itertools.islice(numbers, len(batch)), np.int64)
        records.add(keys(pa.array(batch, pa.string())), number=places)
    return records


@given(added, st.integers(1, 20), st.integers(1, 9))
def test_slices_hold_every_record_once_and_equal_ones_in_order(
    disk: Path, batches: list[list[str]], many: int, count: int
) -> None:
    with room_for(many):
        found = [slice_.copy() for slice_ in recorded(batches, disk).slices(count)]
    assert len(found) == count
    whole = np.concatenate(found)
    texts = list(itertools.chain(*batches))
    assert sorted(whole["number"]) == list(range(len(texts)))
    order = [(int(high), int(low), number) for high, low, number in whole.tolist()]
    assert order == sorted(order)
    again = np.concatenate([duplicate_mask(slice_) for slice_ in found])
    assert len(texts) - again.sum() == len(set(texts))


@given(added, added, st.integers(1, 20), st.integers(1, 9))
def test_records_of_the_same_text_are_joined_and_looked_up(
    disk: Path, some: list[list[str]], others: list[list[str]], many: int, count: int
) -> None:
    texts = [list(dict.fromkeys(itertools.chain(*batches))) for batches in (some, others)]
    with room_for(many):
        one, two = (recorded([[text] for text in alone], disk) for alone in texts)
        pairs = set()
        for these, those in zip(one.slices(count), two.slices(count), strict=True):
            places = zip(*join_keys(these, those), strict=True)
            pairs |= {
                (texts[0][these["number"][i]], texts[1][those["number"][j]]) for i, j in places
            }
        lookup = KeyIndex(one.slices(count), ["number"], disk)
    assert pairs == {(text, text) for text in set(texts[0]) & set(texts[1])}
    there, found = lookup.find(keys(pa.array(texts[1], pa.string())))
    assert there.tolist() == [text in texts[0] for text in texts[1]]
    wanted = [texts[0].index(text) for text in texts[1] if text in texts[0]]
    assert found["number"].tolist() == wanted


def test_records_that_agree_in_half_of_their_keys_are_different(disk: Path) -> None:
    key = np.array([(1, 2), (1, 1), (1, 2), (2, 2)], KEY)
    records = KeyedArrays(NUMBERED, disk)
    records.add(key, number=np.arange(4))
    (sorted_,) = records.slices(1)
    assert sorted_["number"].tolist() == [1, 0, 2, 3]
    assert duplicate_mask(sorted_).tolist() == [False, False, True, False]
    ones, others = join_keys(key[[1, 3]], key[[0, 1]])
    assert (ones.tolist(), others.tolist()) == ([0], [1])
    there, found = KeyIndex([sorted_[[0, 3]]], ["number"], disk).find(key)
    assert (there.tolist(), found["number"].tolist()) == ([False, True, False, True], [1, 3])


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), names)), min_size=1), st.integers(1, 20))
def test_tables_are_sorted_however_many(
    disk: Path, batches: list[list[tuple[int, str]]], many: int
) -> None:
    schema = pa.schema([("confidence", pa.int64()), ("path", pa.string())])
    with room_for(many):
        sorter = Sorter(["confidence", "path"], disk)
        for batch in batches:
            rows = [{"confidence": number, "path": text} for number, text in batch]
            table = pa.Table.from_pylist(rows, schema)
            sorter.add(table.append_column("label", table["path"].dictionary_encode()))
        found = sorter.table()
    assert found["path"].to_pylist() == found["label"].to_pylist()
    pairs = zip(found["confidence"].to_pylist(), found["path"].to_pylist(), strict=True)
    assert list(pairs) == sorted(itertools.chain(*batches))


@given(st.lists(st.lists(names), min_size=1), st.integers(1, 4))
def test_merging_sorts(paths: list[list[str]], step: int) -> None:
    tables = [pa.table({"path": pa.array(sorted(some), pa.string())}) for some in paths]
    found = [path for table in merged(tables, ["path"], step) for path in table["path"].to_pylist()]
    assert found == sorted(itertools.chain(*paths))


def change(pictures: Path) -> None:
    """What happens to a folder between two nights."""
    (pictures / "red" / "000.jpg").rename(pictures / "renamed.jpg")
    (pictures / "green" / "001.jpg").unlink()
    (pictures / "blue" / "002.jpg").write_bytes(colours.picture("red", seed=80))
    (pictures / "new.jpg").write_bytes(colours.picture("green", seed=81))


@pytest.mark.parametrize("shards", [0, 2])
def test_a_large_night_is_as_a_small_one(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shards: int,
) -> None:
    (pictures / "broken.jpg").write_bytes(colours.picture("red")[:600])
    (pictures / "=sum(1).jpg").write_text("hello")
    options = {"max_failures": "2", "min_confidence": 0.99}
    small, large = tmp_path / "small", tmp_path / "large"
    for changed in (False, True):
        if changed:
            change(pictures)
        wanted = night(out=small, **options)
        with monkeypatch.context() as patch:
            patch.setattr("boatinfer.storage.mapped_files.MAX_ROWS_IN_MEMORY", 3)
            for number in range(shards):
                night(out=large, shard=f"{number + 1}/{shards}", **options)
            summary = finish(large) if shards else night(out=large, **options)
        for name in TABLES:
            assert outcomes(large, name) == outcomes(small, name)
        assert counts(summary) == counts(wanted)
        for name in ("failures", "labels", "unsure", "new", "complete", "exit_code"):
            assert getattr(summary, name) == getattr(wanted, name)
        assert not list(find_damage(Results(large)))


def test_nothing_lies_about_while_a_night_works(
    night: Callable[..., Summary],
    tmp_path: Path,
    little_memory: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that nothing is left if it is killed."""
    names_: list[set[str]] = []
    count = proof.count_labels

    def look(*arguments: Any) -> Summary:
        names_.append({path.name for path in (tmp_path / "out").rglob("*") if path.is_file()})
        return count(*arguments)

    monkeypatch.setattr(proof, "count_labels", look)
    night(report=False)
    ours = {"run.json", "predictions.csv", "predictions.parquet", "failures.csv"}
    ours |= {".lock", ".holder"}
    left = names_[0] - ours - {path.name for path in (tmp_path / "out" / "parts").iterdir()}
    assert [Path(name).suffix for name in left] == [".json"]  # in runs/


def full_disk(**_: Any) -> IO[bytes]:
    return os.fdopen(os.open("/dev/full", os.O_RDWR), "r+b")


def test_a_disk_that_is_full_of_rows_costs_none(
    night: Callable[..., Summary],
    pictures: Path,
    little_memory: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    night()
    (pictures / "new.jpg").write_bytes(colours.picture("green", seed=81))
    with monkeypatch.context() as full:
        full.setattr(tempfile, "TemporaryFile", full_disk)
        with pytest.raises(OutputError, match="could not be written: No space left on device;"):
            night()
    assert counts(night()) == (13, 1, 12, 0)


def test_a_file_that_is_listed_twice_is_one(
    night: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Selection.files

    def twice(self: Selection) -> Iterator[ListedFile]:
        every = list(files(self))
        return iter([*every, *every[:2]])

    monkeypatch.setattr(Selection, "files", twice)
    for _ in range(2):
        assert night().found == 12
