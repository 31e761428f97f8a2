"""Whatever happens to a folder between runs, the results end with exactly the right rows."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import colours
from boatinfer.pipeline import plan
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.store.keyed_arrays import KEY, KeyedArrays, KeyIndex, text_keys
from boatinfer.results.store.parts import Parts
from boatinfer.storage import mapped_files
from boatinfer.storage.listing import ListedFile
from support import rows

NAMES = [f"{folder}{number}.jpg" for folder in ("", "a/", "b/c/") for number in range(3)]
PICTURES = {(colour, n): colours.picture(colour, n) for colour in colours.CLASSES for n in (0, 1)}

names = st.sampled_from(NAMES)
pictures = st.sampled_from(list(PICTURES))
events = st.one_of(
    st.tuples(st.just("write"), names, pictures),
    st.tuples(st.just("break"), names),
    st.tuples(st.just("touch"), names),
    st.tuples(st.just("delete"), names),
    st.tuples(st.just("rename"), names, names),
    st.tuples(st.just("copy"), names, names),
    st.tuples(st.just("model"), st.integers(0, 1)),
    st.tuples(st.just("features"), st.booleans()),
    st.just(("run",)),
)


def digest(model: Path) -> str:
    return hashlib.sha256(model.read_bytes()).hexdigest()


@dataclass
class World:
    """A folder, and what its results must be."""

    root: Path
    model: int = 0
    features: bool = False
    clock: int = 1_000_000_000
    files: dict[str, str | None] = field(default_factory=dict)  # name to colour; None is broken
    contents: dict[str, bytes] = field(default_factory=dict)
    #: Of a name and a model the content, and whether there are features; None is a failure.
    recorded: dict[tuple[str, int], tuple[bytes, bool] | None] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.root / "in"

    def put(self, name: str, content: bytes, colour: str | None) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.clock += 1
        os.utime(path, ns=(self.clock, self.clock))
        self.files[name], self.contents[name] = colour, content

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()
        del self.files[name], self.contents[name]

    def happen(self, event: tuple[object, ...]) -> None:
        kind, name, *rest = (*event, None)
        if kind == "write":
            self.put(str(name), PICTURES[rest[0]], rest[0][0])  # type: ignore[index]
        elif kind == "break":
            self.put(str(name), PICTURES["red", 0][:300], None)
        elif kind == "model":
            self.model = int(str(name))
        elif kind == "features":
            self.features = bool(name)
        elif kind == "run":
            self.check()
        elif name in self.files:
            content, colour = self.contents[str(name)], self.files[str(name)]
            if kind in {"delete", "rename"}:
                self.remove(str(name))
            if kind == "touch":
                self.put(str(name), content, colour)
            elif kind in {"rename", "copy"}:
                self.put(str(rest[0]), content, colour)

    def check(self) -> None:
        """Runs, and compares every row and figure with what happened."""
        if not self.files:
            return
        model = self.root / f"{self.model}.onnx"
        out = self.root / "out"
        options = RunOptions(
            self.folder, out, model, self.features, max_failures="100%", threads=2, report=False
        )
        current = {name: self.contents[name] for name, colour in self.files.items() if colour}
        ours = (row for (_, model), row in self.recorded.items() if model == self.model)
        known = {row[0] for row in ours if self.enough(row)}
        summary = run(options)
        found = {row["path"]: row for row in rows(out)}
        assert {name: row["label"] or None for name, row in found.items()} == self.files
        broken = len(self.files) - len(current)
        assert (summary.found, summary.failed) == (len(self.files), broken)
        assert summary.classified == sum(content not in known for content in current.values())
        assert summary.reused == len(current) - summary.classified
        for name in self.files:
            key = name, self.model
            before = self.recorded.get(key)
            if name not in current:
                self.recorded[key] = None
            elif not (self.enough(before) and before[0] == current[name]):
                self.recorded[key] = (current[name], self.features)
        models = {digest(self.root / f"{number}.onnx"): number for number in range(2)}
        index = Parts(out / "parts").index().to_pylist()
        assert {(row["path"], models[row["model"]]): row["status"] == "ok" for row in index} == {
            key: row is not None for key, row in self.recorded.items()
        }
        assert len(index) == len(self.recorded)

    def enough(self, row: tuple[bytes, bool] | None) -> TypeGuard[tuple[bytes, bool]]:
        return row is not None and (row[1] or not self.features)


@settings(max_examples=40)
@given(st.lists(events, max_size=25), st.sampled_from([2, mapped_files.MAX_ROWS_IN_MEMORY]))
def test_any_history_ends_with_exactly_the_right_rows(
    history: list[tuple[object, ...]], many: int
) -> None:
    world = World(Path(tempfile.mkdtemp()))
    before, mapped_files.MAX_ROWS_IN_MEMORY = mapped_files.MAX_ROWS_IN_MEMORY, many
    try:
        for number in range(2):
            card = colours.card(notes=f"model {number}")
            colours.write_model(world.root / f"{number}.onnx", card=card)
        for event in history:
            world.happen(event)
        world.check()
        world.check()
    finally:
        mapped_files.MAX_ROWS_IN_MEMORY = before
        shutil.rmtree(world.root)


paths = st.text(min_size=1, max_size=4)
listings = st.dictionaries(paths, st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12)


@given(listings, listings, st.integers(1, 5), st.integers(1, 5), st.randoms())
def test_what_is_new_or_changed_is_due(
    found: dict[str, tuple[int, int]],
    known: dict[str, tuple[int, int]],
    chunk: int,
    size: int,
    random: random.Random,
) -> None:
    files = [ListedFile(path, *rest) for path, rest in found.items()]
    rows = [ListedFile(path, *rest) for path, rest in known.items()]
    random.shuffle(files)
    tmp_path = Path(tempfile.gettempdir())
    records = KeyedArrays(np.dtype([*KEY.descr, ("bytes", "i8"), ("mtime_ns", "i8")]), tmp_path)
    times = {
        name: np.array([getattr(row, name) for row in rows], np.int64)
        for name in ("bytes", "mtime_ns")
    }
    records.add(text_keys(row.path for row in rows), **times)
    agenda = plan.DueFiles(KeyIndex(records.slices(3), [*times], tmp_path), tmp_path)
    chunks = (files[i : i + chunk] for i in range(0, len(files), chunk))
    batches = list(plan.batches(agenda.due(chunks), size))
    due = {path for path in found if found[path] != known.get(path)}
    assert all(0 < len(batch) <= size for batch in batches)
    assert sorted(itertools.chain(*batches)) == sorted(f for f in files if f.path in due)
    assert agenda.total == len(due)
    (noted,) = agenda.found.slices(1)
    assert noted["due"].sum() == len(due)
    assert len(noted) == len(found)


@given(
    st.lists(st.builds(ListedFile, paths, st.integers(0, 3), st.integers(0, 3))), st.integers(1, 12)
)
def test_the_first_files_are_those_of_the_first_paths(files: list[ListedFile], count: int) -> None:
    assert list(plan.first(iter(files), count)) == sorted(files)[:count]


def test_a_slow_listing_comes_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [ListedFile(str(number), 0, 0) for number in range(10_000)]
    assert [len(chunk) for chunk in plan.chunks(files)][:2] == [4096, 4096]
    clock = itertools.count(step=0.09)
    monkeypatch.setattr("boatinfer.pipeline.plan.time.monotonic", lambda: next(clock))
    assert {len(chunk) for chunk in plan.chunks(files[:12])} == {3}
    assert not list(plan.chunks([]))
