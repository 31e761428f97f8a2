"""A run in shards ends as an undivided one, whatever becomes of single shards."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import colours
from boatinfer.errors import BoatinferError, BusyError, OutputError, RunInterruptedError, UsageError
from boatinfer.pipeline.merge_shards import finish
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results import locks
from boatinfer.results.folder import Results
from boatinfer.results.integrity import find_damage
from boatinfer.results.store import compaction
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.parts import Parts
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary
from boatinfer.svm.fit import fit
from boatinfer.svm.options import FitOptions
from letters import CLASSES, everything, row
from support import Command, counts, outcomes, rows, slow_run

TABLES = ("predictions.csv", "failures.csv")

shards = st.integers(1, 50).flatmap(lambda n: st.builds(Shard, st.just(n), st.integers(1, n)))


@settings(max_examples=50)
@given(st.integers(1, 20), st.lists(st.text()))
def test_every_path_is_in_exactly_one_shard(count: int, paths: list[str]) -> None:
    column = pa.array([path.encode("utf-8", "ignore").decode() for path in paths], pa.string())
    masks = [Shard(count, number).mask(column) for number in range(1, count + 1)]
    assert np.array_equal(np.sum(masks, axis=0), np.ones(len(paths)))


@given(shards)
def test_a_shard_is_read_as_it_is_written(shard: Shard) -> None:
    assert Shard.parse(str(shard)) == Shard.parse(shard.name) == shard


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/99999", "a/b", "1/4/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="such as 3/64"):
        RunOptions(Path("photos"), shard=text)


@given(shards, st.integers(0, 10**7))
def test_part_numbers_of_shards_never_meet(shard: Shard, last: int) -> None:
    number = shard.next_part_number(last)
    assert last < number <= last + shard.count
    assert number % shard.count == shard.number % shard.count


writes = st.lists(
    st.tuples(st.integers(1, 3), st.sets(st.sampled_from("pqrstuvw"), min_size=1)), max_size=12
)


@settings(max_examples=25)
@given(writes, st.booleans())
def test_parts_written_side_by_side_lose_and_repeat_nothing(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, set[str]]], merge: bool
) -> None:
    """Each shard writes what is its own, in any order; then all are read together."""
    folder = tmp_path_factory.mktemp("parts")
    wanted: dict[str, tuple[float, list[float] | None]] = {}
    values = itertools.cycle(i / 64 for i in range(64))
    for number, paths in history:
        shard = Shard(3, number)
        parts, value = Parts(folder, shard), next(values)
        if own := sorted(filter(shard.contains, paths)):
            parts.append([row(path, value) for path in own], CLASSES, "m", "r")
            wanted |= dict.fromkeys(own, (value, None))
        if merge:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(compaction, "MANY_PARTS", 2)
                row_index = RowIndex(parts)
                row_index.read()
                compaction.compact(row_index)
    assert everything(Parts(folder)) == wanted
    for number in (1, 2, 3):
        shard = Shard(3, number)
        assert everything(Parts(folder, shard)) == of(shard, wanted)
    other = Shard(2, 1)  # of another split: its rows are in the parts of all
    assert everything(Parts(folder, other)) == of(other, wanted)


def of(
    shard: Shard, rows: dict[str, tuple[float, list[float] | None]]
) -> dict[str, tuple[float, list[float] | None]]:
    return {path: value for path, value in rows.items() if shard.contains(path)}


def in_shards(night: Callable[..., Summary], count: int, **changes: object) -> Summary:
    for number in range(1, count + 1):
        assert night(shard=f"{number}/{count}", **changes).exit_code == 0
    return finish(Path(str(changes["out"])))


@pytest.mark.parametrize("count", [1, 3, 17])  # of 17 shards some have no image
def test_shards_together_are_an_undivided_run(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path, count: int
) -> None:
    (pictures / "broken.jpg").write_bytes(colours.picture("red")[:600])
    (pictures / "=quoted,\n.jpg").write_bytes(colours.picture("green", seed=9))
    sound = colours.picture("blue", seed=5)
    (pictures / "warned.jpg").write_bytes(sound[:2] + b"\0\0" + sound[2:])  # spare bytes
    options = {"top": 3, "max_failures": "1"}
    whole = night(**options)
    assert whole.warnings == 1
    summary = in_shards(night, count, out=tmp_path / "sharded", **options)
    for name in TABLES:
        assert outcomes(tmp_path / "sharded", name) == outcomes(tmp_path / "out", name)
    for name in (
        "found",
        "classified",
        "reused",
        "failed",
        "failures",
        "warnings",
        "labels",
        "model",
    ):
        assert getattr(summary, name) == getattr(whole, name)
    for name in ("classes", "complete", "exit_code", "versions", "device", "folder", "new"):
        assert getattr(summary, name) == getattr(whole, name)
    assert Results(tmp_path / "sharded").last_finished() == summary
    assert "=quoted" in (tmp_path / "sharded" / "report.html").read_text()
    assert list(find_damage(Results(tmp_path / "sharded"))) == []


def test_shards_with_an_svm_are_an_undivided_run_with_it(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night(features=True)
    fit(FitOptions(tmp_path / "out", tmp_path / "svm.joblib", folds=0))
    whole = night(svm=tmp_path / "svm.joblib", min_confidence=0.9)
    summary = in_shards(
        night, 2, out=tmp_path / "sharded", svm=tmp_path / "svm.joblib", min_confidence=0.9
    )
    for name in (*TABLES, "review.csv"):
        assert outcomes(tmp_path / "sharded", name) == outcomes(tmp_path / "out", name)
    assert summary.svm_labels == whole.svm_labels == {"red": 4, "green": 4, "blue": 4}


def test_shards_that_looked_at_some_images_forget_none_of_the_others(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MANY_PARTS", 2)
    assert in_shards(night, 2, out=tmp_path / "out").complete
    for number in range(3):
        for name in ("red", "blue"):
            picture = colours.picture(name, seed=90 + number)
            (pictures / f"red/{name}-{number}.jpg").write_bytes(picture)
        assert in_shards(night, 2, out=tmp_path / "out", include=["red/*"]).complete
    assert counts(night()) == (18, 0, 18, 0)


def test_shards_and_undivided_runs_reuse_each_others_rows(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert counts(in_shards(night, 3, out=out)) == (12, 12, 0, 0)
    (pictures / "red" / "000.jpg").unlink()
    (pictures / "new.jpg").write_bytes(colours.picture("blue", seed=50))
    assert counts(in_shards(night, 4, out=out)) == (12, 1, 11, 0)
    assert counts(night()) == (12, 0, 12, 0)
    assert counts(in_shards(night, 2, out=out, limit=5)) == (5, 0, 5, 0)
    assert len(rows(out)) == 5


def test_shards_run_at_the_same_time_and_a_killed_one_goes_on(
    model_file: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    colours.write_pictures(folder, each=100)
    (folder / "broken.jpg").write_bytes(colours.picture("red")[:400])
    options = RunOptions(folder, out, model_file, batch_size=4, threads=1)
    started = [slow_run(replace(options, shard=f"{number}/3")) for number in (1, 2, 3)]
    while not list((out / "parts").glob("[0-9]*-2-of-3.parquet")):
        time.sleep(0.01)
    started[1].kill()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, -signal.SIGKILL, 0]
    with pytest.raises(UsageError, match=r"shard 2/3 in .* has not come to its end; run it again"):
        finish(out)
    assert run(RunOptions(folder, out, model_file, shard="2/3")).reused > 0
    summary = finish(out)
    assert (summary.found, summary.failures) == (301, {"corrupt": 1})
    run(RunOptions(folder, tmp_path / "whole", model_file))
    for name in TABLES:
        assert outcomes(out, name) == outcomes(tmp_path / "whole", name)
    run(RunOptions(folder, out, model_file))  # an undivided run clears what the kill left
    assert not list(out.rglob("*.tmp"))


def test_who_excludes_whom(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locks, "_START_SECONDS", 0.1)
    out = tmp_path / "out"
    with Results(out, Shard(2, 1)).lock(str(pictures)):
        with pytest.raises(BusyError, match=f"shard 1/2, is held by process {os.getpid()} on"):
            night(shard="1/2")
        for shard in (None, "1/3"):
            with pytest.raises(BusyError, match="shard 1/2, is held"):
                night(shard=shard)
        night(shard="2/2")
        with pytest.raises(BusyError, match="shard 1/2, is held"):
            finish(out)
    with Results(out).lock(str(pictures)), pytest.raises(BusyError, match="out is held by"):
        night(shard="1/2")
    night(shard="1/2")
    assert finish(out).found == 12


def lacks_a_shard(out: Path) -> None:
    for note in out.glob("shards/2-of-3.*"):
        note.unlink()


def lacks_a_part(out: Path) -> None:
    next(out.glob("parts/*-2-of-3.parquet")).unlink()


def lacks_a_note(out: Path) -> None:
    (out / "shards" / "2-of-3.parquet").unlink()


def has_a_damaged_part(out: Path) -> None:
    part = next(out.glob("parts/*-2-of-3.parquet"))
    part.write_bytes(part.read_bytes()[:-9])


def has_another_part(out: Path) -> None:
    one, two = (next(out.glob(f"parts/*-{n}-of-3.parquet")) for n in (1, 2))
    shutil.copy(one, two)


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lacks_a_shard, UsageError, "lacks the shard 2/3; run it with --shard 2/3."),
        (lacks_a_part, OutputError, "has gone"),
        (lacks_a_note, OutputError, "2-of-3.parquet is damaged or missing; run the shard 2/3"),
        (has_a_damaged_part, OutputError, "is damaged"),
        (has_another_part, OutputError, "do not hold what the shard 2/3|is damaged"),
    ],
)
def test_what_is_not_whole_is_not_finished(
    night: Callable[..., Summary],
    tmp_path: Path,
    spoil: Callable[[Path], None],
    error: type[BoatinferError],
    said: str,
) -> None:
    out = tmp_path / "out"
    for number in (1, 2, 3):
        night(shard=f"{number}/3")
    spoil(out)
    with pytest.raises(error, match=said):
        finish(out)
    assert not (out / "run.json").exists()
    for left in [*out.glob("parts/*-2-of-3.parquet")]:
        left.unlink()
    night(shard="2/3")
    assert finish(out).found == 12


def test_shards_that_do_not_fit_together_are_not_finished(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(name="other"))
    with pytest.raises(UsageError, match="no shards have run into"):
        finish(out)
    night(shard="1/2")
    misfits: list[tuple[dict[str, Any], str]] = [
        ({"model": other}, "is of the model .*, and the shard 1/2 of"),
        ({"top": 1}, r"ran with other options than the shard 1/2 \(--top\); run it again"),
        ({"limit": 5, "include": ["*.jpg"]}, r"\(--include '\*.jpg', --limit 5\)"),
        ({"features": True, "lenient": True}, r"\(--features, --lenient\)"),
    ]
    for changes, said in misfits:
        night(shard="2/2", **changes)
        with pytest.raises(UsageError, match=said):
            finish(out)
    shutil.copytree(pictures, tmp_path / "copy")
    with pytest.raises(UsageError, match=r"holds the results of .*pictures, not of .*copy"):
        night(shard="2/2", folder=tmp_path / "copy")
    night(shard="1/3")
    with pytest.raises(
        UsageError, match="lacks the shards 2/3 and 3/3; run each with --shard 2/3 and so on"
    ):
        finish(out)


def test_it_is_told_when_files_came_between_the_listings_of_shards(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert in_shards(night, 2, out=out).remarks == []
    night(shard="1/2")
    (pictures / "late.jpg").write_bytes(colours.picture("red", seed=70))
    night(shard="2/2")
    (said,) = finish(out).remarks
    assert "which saw 12 to 13 images" in said
    night(shard="1/2")
    (pictures / "late.jpg").rename(pictures / "renamed.jpg")
    night(shard="2/2")
    (said,) = finish(out).remarks
    assert "which saw 13, not the same, images" in said


def test_results_says_how_far_each_shard_is(
    boatinfer: Command, night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    night(shard="4/5")
    for number in (2, 3):  # one is killed, the other still goes on
        left = Summary(run=f"r{number}", folder=str(pictures), started="")
        shard = Results(out, Shard(5, number))
        shard.supersede()
        shard.write_summary(left)
    with Results(out, Shard(5, 2)).lock(str(pictures)):
        said = boatinfer("results", out).out
    assert "1 of 5 done; 1/5 and 5/5 not begun; 2/5 in progress, by process" in said
    assert "; 3/5 killed; when all are, end the run with --finish" in said


def test_finishing_merges_the_parts_of_shards_and_readers_go_on(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "MANY_PARTS", 2)
    out = tmp_path / "out"
    for number in range(3):
        (pictures / f"{number}.jpg").write_bytes(colours.picture("blue", seed=90 + number))
        (pictures / "green" / f"00{number}.jpg").unlink()
        assert in_shards(night, 2, out=out).complete
    assert len(Parts(out / "parts").own()) <= 5  # each shard's, and those of images that have gone
    assert Results(out).current().num_rows == 12
    assert list(find_damage(Results(out))) == []
    night(shard="2/2")  # a night that is not ended takes nothing away
    assert Results(out).current().num_rows == 12
    assert counts(night()) == (12, 0, 12, 0)


def test_a_merge_of_shards_that_fails_again_and_again_loses_nothing(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MANY_PARTS", 2)
    monkeypatch.setattr("boatinfer.pipeline.engines.local.PART_ROWS", 1)
    out = tmp_path / "out"
    for number in (1, 2):
        night(shard=f"{number}/2", batch_size=1, threads=1, out=out)

    def full(*_: object, **__: object) -> None:
        raise OutputError("the disk is full")

    for _ in range(3):  # after the parts have been merged, and before the old ones go
        with monkeypatch.context() as failing:
            failing.setattr("boatinfer.pages.report.write", full)
            with pytest.raises(OutputError, match="the disk is full"):
                finish(out)
    assert counts(finish(out)) == (12, 12, 0, 0)
    assert not list(find_damage(Results(out)))
    assert Results(out).current().num_rows == 12
    assert counts(night(out=out)) == (12, 0, 12, 0)


def test_an_undivided_run_puts_unfinished_shards_out_of_date(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night(shard="1/2")
    with pytest.raises(UsageError, match="--finish"):
        Results(tmp_path / "out").last_finished()
    night()
    with pytest.raises(UsageError, match="no shards have run"):
        finish(tmp_path / "out")


@pytest.mark.parametrize("ended", [False, True])
def test_what_killed_shards_leave_is_cleared(
    night: Callable[..., Summary], tmp_path: Path, ended: bool
) -> None:
    out = tmp_path / "out"
    night(shard="1/2")
    night(shard="2/2")
    for name in ("shards/.2-of-2.parquet.99.tmp", "shards/.1-of-2.json.99.tmp"):
        (out / name).write_text("half")
    finish(out) if ended else night()
    assert not list(out.rglob("*.tmp"))


def test_an_interrupted_shard_says_so_and_goes_on(
    night: Callable[..., Summary], pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    night(shard="1/2")
    signals = iter([signal.SIGINT])
    with pytest.raises(RunInterruptedError):
        run(
            RunOptions(pictures, out, model_file, shard="2/2"),
            lambda _: signal.raise_signal(next(signals, signal.SIGCONT)),
        )
    with pytest.raises(UsageError, match=r"2/2 in .* \(interrupted; \d of \d"):
        finish(out)
    night(shard="2/2")
    assert finish(out).found == 12


def test_the_command_line(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    (pictures / "bad.jpg").write_text("no image")
    out = tmp_path / "out"
    for number in (1, 2):
        done = boatinfer(*("run", pictures, "-o", out, "-m", model_file, "--shard", f"{number}/2"))
        assert (done.code, done.err) == (0, "")
        assert f"boatinfer results {out} --finish" in done.out
    assert "shards      2 of 2 done; end the run with --finish" in boatinfer("results", out).out
    for reader in ("evaluate", "report"):
        done = boatinfer(reader, out)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"boatinfer results {out} --finish" in done.err
    (out / "shards/1-of-2-copy.json").write_text("somebody's own")
    (out / "shards/3-of-2.json").write_text("likewise")
    done = boatinfer("results", out, "--finish", "--verify")
    assert done.code == 3
    assert "verified: every part is whole; the last complete run has all its rows" in done.out
    assert "13 images found = 12 classified + 0 reused + 1 failed" in done.out
    assert "1 of 13 new images failed, more than --max-failures 5% allows; see" in done.err
    assert boatinfer("results", out, "--verify").code == 0
    again = boatinfer("results", out, "--finish")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert boatinfer("run", tmp_path / "none", "--shard", "1/2").code == 2
    (tmp_path / "empty").mkdir()
    assert boatinfer("run", tmp_path / "empty", "--shard", "1/2").code == 2
