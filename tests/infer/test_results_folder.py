"""A results folder by itself: who holds it, and what is no results folder."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from boatinfer.cli.streams import show_warnings
from boatinfer.errors import BusyError, UsageError
from boatinfer.results.folder import Results
from boatinfer.results.integrity import set_aside
from boatinfer.results.manifest import write_manifest
from boatinfer.results.moving import relocate
from boatinfer.results.status import folder_status
from boatinfer.results.store.parts import Parts
from boatinfer.results.summary import Summary


def test_of_a_holder_nothing_stays(tmp_path: Path) -> None:
    results = Results(tmp_path / "out")
    with results.lock("/in"):
        holder = results.out / ".holder"
        assert results.lock_holder() == holder.read_text()
        with pytest.raises(BusyError, match="is held by process"), Results(results.out).lock("/in"):
            pass
        assert results.lock_holder() is not None
    assert results.lock_holder() is None
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
            folder_status(results)


def test_what_shards_leave_is_known_by_its_whole_name(tmp_path: Path) -> None:
    results = Results(tmp_path)
    (tmp_path / "shards").mkdir()
    ours = {"1-of-2.json", "1-of-2.parquet", "12-of-12.json"}
    for name in (*ours, "1-of-2.txt", "3-of-2.json", "1-of-02.json", "1-of-x.json", "1-of-2.lock"):
        (tmp_path / "shards" / name).touch()
    assert {note.name for note in results.shard_files()} == ours


def test_it_is_told_once_that_the_last_run_is_not_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_warnings()
    results = Results(tmp_path)
    (tmp_path / "runs").mkdir()
    whole = Summary(run="1", folder="/in", started="2026-01-01T00:00:00", complete=True)
    results.write_summary(whole)
    rows = pa.table({"path": ["a.jpg"], "status": ["ok"]})
    write_manifest(tmp_path / ".current.parquet", rows, whole, 1)
    results.write_summary(Summary(run="2", folder="/in", started="2026-01-02T00:00:00"))
    for said in (1, 0):
        assert results.last_finished().run == "1"
        assert capsys.readouterr().err.count("2026-01-02 00:00, is not complete (it was") == said


def test_results_that_are_none_follow_nowhere_and_get_no_lock(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="is no results folder"):
        relocate(tmp_path / "out", tmp_path, force=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_part_that_another_shard_has_set_aside_is_no_longer_among_the_parts(
    tmp_path: Path,
) -> None:
    assert set_aside(Parts(tmp_path), tmp_path / f"000001-{'0' * 16}.parquet")
    assert list(tmp_path.iterdir()) == []
