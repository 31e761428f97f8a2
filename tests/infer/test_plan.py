"""What is found is worked on, each file once, however it is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boatinfer.night import plan
from boatinfer.scan import Found

sizes = st.integers(1, 5)


def listing(count: int) -> list[Found]:
    return [Found(f"{number}.jpg", number, -number) for number in range(count)]


@settings(deadline=None)
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


@settings(deadline=None)
@given(st.lists(sizes, max_size=12), st.integers(1, 12))
def test_waves_hold_every_batch_in_order(batches: list[int], most: int) -> None:
    files = iter(listing(sum(batches)))
    given_ = [list(itertools.islice(files, size)) for size in batches]
    waves = list(plan.waves(given_, most))
    assert [row for wave in waves for row in wave.to_pylist()] == [
        file._asdict() for file in listing(sum(batches))
    ]
    assert all(most <= wave.num_rows < most + 5 for wave in waves[:-1])
    assert all(wave.num_rows for wave in waves)
