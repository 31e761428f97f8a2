from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatinfer import parts as module
from boatinfer.contents import Contents
from boatinfer.errors import OutputError
from boatinfer.parts import Parts, Row, matrix

CLASSES = ["a", "b", "c"]


def row(path: str, value: float, features: bool = False) -> Row:
    probabilities = np.array([value, 1 - value, 0], np.float32)
    vector = np.array([value, 2 * value], np.float32) if features else None
    content = f"{abs(hash((path, value))):032x}"
    return Row(path, 1, 2, content, probabilities=probabilities, features=vector)


def everything(parts: Parts) -> dict[str, tuple[float, list[float] | None]]:
    """What all readers see: path to first probability and features."""
    seen = {}
    columns = ["path", "probabilities", "features"]
    for table in parts.read(parts.index(), columns):
        for found in table.to_pylist():
            assert found["path"] not in seen
            seen[found["path"]] = found["probabilities"][0], found.get("features")
    return seen


writes = st.lists(
    st.tuples(st.sampled_from("pqrstu"), st.integers(0, 8), st.booleans()), min_size=1, max_size=4
)


@settings(deadline=None)
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
        parts.compact(parts.index())
    assert everything(parts) == wanted
    parts.append([row("p", 0.5)], CLASSES, "m", "later")
    assert everything(parts)["p"] == (0.5, None)


def test_merging_makes_few_parts_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path)
    for number in range(module.MANY_PARTS - 1):
        parts.append([row(f"p{number}", 0.25)], CLASSES, "m", "r")
    parts.compact(parts.index())
    assert len(parts.files()) == module.MANY_PARTS - 1
    parts.append([row("last", 0.25)], CLASSES, "m", "r")
    parts.compact(parts.index())
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
            parts.compact(parts.index())
    assert everything(parts) == wanted
    parts.compact(parts.index())
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
    parts.compact(parts.index())
    assert big in parts.files()
    assert len(parts.files()) == 2
    parts.append([row(f"p{i}", 0.75) for i in range(6)], CLASSES, "m", "r")
    parts.append([row("p6", 0.75)], CLASSES, "m", "r")
    parts.compact(parts.index())
    assert big not in parts.files()
    assert {value for value, _ in everything(parts).values()} == {0.25, 0.75}


@settings(deadline=None, max_examples=30)
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
    (sentence,) = parts.damage()
    assert file.name in sentence


def test_a_part_that_is_cut_off_is_named(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.append([row("p", 0.5)], CLASSES, "m", "r")
    (file,) = parts.files()
    file.write_bytes(file.read_bytes()[:-30])
    assert file.name in next(iter(parts.damage()))
    with pytest.raises(OutputError, match=file.name):
        parts.index()


def test_a_reader_is_told_when_parts_change_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY_PARTS", 2)
    parts = Parts(tmp_path)
    for number in range(4):
        parts.append([row(f"p{number}", number / 8)], CLASSES, "m", "r")
    index = parts.index()
    parts.compact(index)
    with pytest.raises(OutputError, match="a run is changing it"):
        list(parts.read(index, ["path"]))


def test_contents_find_rows_and_fill_them_in(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    kept = [row(f"p{i}", i / 16, True) for i in range(16)]
    parts.append(kept[9:], CLASSES, "m", "one")
    parts.append(kept[:9], CLASSES, "m", "two")
    contents = Contents(parts, parts.index())
    copies = [Row(f"copy{i}", 5, 6, kept[i].content) for i in (3, 12, 3, 0)]
    for copy in copies:
        copy.known = contents.find(copy.content or "")
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
    assert contents.find("f" * 32) is None
    assert Contents(parts, parts.index().slice(0, 0)).find("0" * 32) is None


def test_matrix_respects_slices() -> None:
    column = pa.chunked_array(
        [pa.FixedSizeListArray.from_arrays(pa.array(range(12), pa.float32()), 3)]
    )
    assert matrix(column.slice(1, 2)).tolist() == [[3, 4, 5], [6, 7, 8]]
