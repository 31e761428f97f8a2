"""Whatever happens to a folder between runs, the results end with exactly the right rows."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import colours
from boatinfer import plan
from boatinfer.options import RunOptions
from boatinfer.parts import Parts
from boatinfer.run import run
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


@dataclass
class World:
    """A folder, and what its results must be."""

    root: Path
    model: int = 0
    features: bool = False
    clock: int = 1_000_000_000
    files: dict[str, str | None] = field(default_factory=dict)  # name to colour; None is broken
    contents: dict[str, bytes] = field(default_factory=dict)
    recorded: dict[str, tuple[int, bytes, bool] | None] = field(default_factory=dict)

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
        known = {row[1] for row in self.recorded.values() if row and self.says_enough(row)}
        summary = run(options)
        found = {row["path"]: row for row in rows(out)}
        assert {name: row["label"] or None for name, row in found.items()} == self.files
        broken = len(self.files) - len(current)
        assert (summary.found, summary.failed) == (len(self.files), broken)
        assert summary.classified == sum(content not in known for content in current.values())
        assert summary.reused == len(current) - summary.classified
        for name in self.files:
            before = self.recorded.get(name)
            if name not in current:
                self.recorded[name] = None
            elif not (before and before[1] == current[name] and self.says_enough(before)):
                self.recorded[name] = (self.model, current[name], self.features)
        index = Parts(out / "parts").index().to_pylist()
        assert {row["path"]: row["status"] == "ok" for row in index} == {
            name: row is not None for name, row in self.recorded.items()
        }
        assert len(index) == len(self.recorded)

    def says_enough(self, row: tuple[int, bytes, bool]) -> bool:
        model, _, features = row
        return model == self.model and (features or not self.features)


@settings(max_examples=40, deadline=None)
@given(st.lists(events, max_size=25))
def test_any_history_ends_with_exactly_the_right_rows(history: list[tuple[object, ...]]) -> None:
    world = World(Path(tempfile.mkdtemp()))
    try:
        for number in range(2):
            card = colours.card(notes=f"model {number}")
            colours.write_model(world.root / f"{number}.onnx", card=card)
        for event in history:
            world.happen(event)
        world.check()
        world.check()
    finally:
        shutil.rmtree(world.root)


paths = st.text(min_size=1, max_size=4)
listings = st.dictionaries(paths, st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12)


def table(rows: dict[str, tuple[int, int]]) -> pa.Table:
    return pa.table(
        {
            "path": pa.array(list(rows), pa.string()),
            "bytes": pa.array([size for size, _ in rows.values()], pa.int64()),
            "mtime_ns": pa.array([time for _, time in rows.values()], pa.int64()),
        }
    )


@given(listings, listings)
def test_todo_is_what_is_new_or_changed(
    found: dict[str, tuple[int, int]], known: dict[str, tuple[int, int]]
) -> None:
    todo = plan.todo(table(found), table(known))
    assert todo["path"].to_pylist() == sorted(
        (path for path in found if found[path] != known.get(path)), key=str.encode
    )


@given(listings, st.integers(1, 5))
def test_batches_hold_every_file_once(found: dict[str, tuple[int, int]], size: int) -> None:
    batches = list(plan.batches(table(found), size))
    assert [file.path for batch in batches for file in batch] == list(found)
    assert all(0 < len(batch) <= size for batch in batches)
