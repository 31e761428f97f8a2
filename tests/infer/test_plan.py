"""What is found is worked on, each file once, however it is cut."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatinfer.pipeline import plan
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.parts import Parts
from boatinfer.storage.listing import ListedFile
from boatinfer.text import to_text
from letters import CLASSES, row

sizes = st.integers(1, 5)


def listing(count: int) -> list[ListedFile]:
    return [ListedFile(f"{number}.jpg", number, -number) for number in range(count)]


@given(st.integers(0, 30), sizes, st.booleans())
def test_chunks_hold_every_file_in_order(count: int, size: int, slow: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "CHUNK_FILES", size)
        if slow:
            patch.setattr(plan, "CHUNK_SECONDS", 0.0)
        chunks = list(plan.chunks(iter(listing(count))))
    assert list(itertools.chain(*chunks)) == listing(count)
    assert {len(chunk) for chunk in chunks[:-1]} <= {1 if slow else size}
    assert all(chunks)


@given(st.lists(sizes, max_size=12), st.integers(1, 12))
def test_waves_and_batches_hold_every_file_in_order(chunks: list[int], most: int) -> None:
    every = listing(sum(chunks))
    files = iter(every)
    due = [list(itertools.islice(files, size)) for size in chunks]
    waves = list(plan.waves(due, most))
    assert list(itertools.chain(*waves)) == every
    assert all(most <= len(wave) < most + 5 for wave in waves[:-1])
    assert all(waves)
    batches = list(plan.batches(due, most))
    assert list(itertools.chain(*batches)) == every
    assert all(0 < len(batch) <= most for batch in batches)


def due(parts: Parts, found: list[ListedFile], **wants: bool) -> set[str]:
    """Which files are worked on."""
    row_index = RowIndex(parts, "m", "now")
    row_index.read()
    wanted = {"wants_features": False, "lenient": False, "fresh": False} | wants
    agenda = plan.DueFiles(plan.reusable(row_index, **wanted)[0], parts.folder)
    paths = [file.path for files in agenda.due([found]) for file in files]
    assert (agenda.total, agenda.found.count) == (len(set(paths)), len(found))
    return set(paths)


def test_what_is_known_as_it_is_now_is_not_worked_on(tmp_path: Path) -> None:
    names = ["plain", "rich", "warned", "damaged", "failed", "theirs", "larger", "later", "new"]
    rows = {name: row(name, 0.5, name == "rich") for name in names[:-1]}
    rows["damaged"].error = "a warning"
    rows["warned"].error = "warning: of the decoder, and the image is sound"
    rows["failed"].status, rows["failed"].probabilities = "corrupt", None
    parts = Parts(tmp_path)
    for name, its in rows.items():
        parts.append([its], CLASSES, "another" if name == "theirs" else "m", "r")
    sizes, times = {"larger": 2}, {"later": 3}
    found = [ListedFile(name, sizes.get(name, 1), times.get(name, 2)) for name in names]
    always = {"failed", "theirs", "larger", "later", "new"}
    assert due(parts, found) == always | {"damaged"}
    assert due(parts, found, lenient=True) == always
    assert due(parts, found, wants_features=True) == set(names) - {"rich"}
    assert due(parts, found, fresh=True) == set(names)


names = st.binary(min_size=1, max_size=255).filter(lambda name: not {0, 47} & set(name))
numbers = st.integers(-(2**80), 2**80) | st.sampled_from([0, -1, -(2**63), 2**63 - 1, 2**63])


class Status(NamedTuple):
    """What a file system may say of a file."""

    st_size: int
    st_mtime_ns: int


@settings(max_examples=50)
@given(st.dictionaries(names, st.tuples(numbers, numbers), min_size=1, max_size=5), numbers)
def test_what_a_file_system_says_is_reused_the_next_night_whatever_it_is(
    files: dict[bytes, tuple[int, int]], other: int
) -> None:
    listing = [
        ListedFile.from_status(to_text(os.fsdecode(name)), Status(*its))
        for name, its in files.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Path(folder))
        assert due(parts, listing) == {found.path for found in listing}
        rows = [row(found.path, 0.5) for found in listing]
        for its, found in zip(rows, listing, strict=True):
            its.bytes, its.mtime_ns = found.bytes, found.mtime_ns
        parts.append(rows, CLASSES, "m", "before")
        assert due(parts, listing) == set()
        name, (size, time) = next(iter(files.items()))
        changed = ListedFile.from_status(to_text(os.fsdecode(name)), Status(size, other))
        same = (other - time) % 2**64 == 0
        assert due(parts, [changed, *listing[1:]]) == (set() if same else {changed.path})
