"""A results folder by itself: who holds it, and what is no results folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from boatinfer.errors import BusyError, UsageError
from boatinfer.results.folder import Results
from boatinfer.results.status import holdings


def test_of_a_holder_nothing_stays(tmp_path: Path) -> None:
    results = Results(tmp_path / "out")
    with results.hold("/in"):
        holder = results.out / ".holder"
        assert results.held_by() == holder.read_text()
        with pytest.raises(BusyError, match="is held by process"), Results(results.out).hold("/in"):
            pass
        assert results.held_by() is not None
    assert results.held_by() is None
    assert not holder.exists()


def test_a_folder_that_no_run_has_been_in_holds_nothing(tmp_path: Path) -> None:
    for folder in ("parts", "runs"):  # either alone may be anybody's
        results = Results(tmp_path / folder)
        (results.out / folder).mkdir(parents=True)
        assert not results.exists()
        with pytest.raises(UsageError, match="is no results folder"):
            results.require()
        with pytest.raises(UsageError, match="is no results folder"):
            results.last_finished()
        with pytest.raises(UsageError, match="is no results folder"):
            holdings(results)


def test_what_shards_leave_is_known_by_its_whole_name(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.shards.mkdir()
    ours = {"1-of-2.json", "1-of-2.parquet", "12-of-12.json"}
    for name in (*ours, "1-of-2.txt", "3-of-2.json", "1-of-02.json", "1-of-x.json", "1-of-2.lock"):
        (results.shards / name).touch()
    assert {note.name for note in results.notes()} == ours
