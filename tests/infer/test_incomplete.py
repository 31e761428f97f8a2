"""A night that fails leaves the last complete one's results readable, and says so."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import colours
from boatinfer.errors import (
    BoatinferError,
    ModelError,
    OutputError,
    RunInterruptedError,
    UsageError,
)
from boatinfer.pipeline.classifier import Classifier
from boatinfer.results import proof
from boatinfer.results.folder import Results
from boatinfer.results.integrity import find_damage
from boatinfer.results.status import folder_status
from boatinfer.results.store import compaction
from boatinfer.results.store.rows import Row
from boatinfer.results.summary import Summary
from boatinfer.results.tables import csv_files, whole
from boatinfer.storage.locations import place
from boatinfer.text import local_time
from s3 import Server
from support import Command, counts


@pytest.fixture
def interrupted(
    night: Callable[..., Summary], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Changes some pictures, and interrupts a run that has recorded some of the new ones."""

    def call(**changes: Any) -> None:
        for number in range(3):
            content = colours.picture("green", seed=200 + number)
            (pictures / "blue" / f"{number:03}.jpg").write_bytes(content)
        work = Classifier.__call__
        batches = itertools.count()

        def stop(self: Classifier, batch: Any) -> list[Row]:
            if next(batches) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return work(self, batch)

        with monkeypatch.context() as stopping:
            stopping.setattr(Classifier, "__call__", stop)
            with pytest.raises(RunInterruptedError):
                night(batch_size=1, threads=1, **changes)

    return call


def contents(out: Path) -> dict[str, str]:
    """Path to content of the images that are current."""
    results = Results(out)
    tables = results.parts.read(results.current(), ["path", "content"])
    return {row["path"]: row["content"] for table in tables for row in table.to_pylist()}


def test_a_run_that_cannot_start_takes_no_results_away(
    boatinfer: Command, night: Callable[..., Summary], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    night(features=True)
    commands: list[tuple[object, ...]] = [
        ("evaluate", out),
        ("features", out, "-o", tmp_path / "x.npy"),
        ("svm", "fit", out, "-o", tmp_path / "x.joblib"),
        ("compare", out, out),
        ("similar", out, "--duplicates"),
    ]
    before = [boatinfer(*command) for command in commands]
    assert [(done.code, done.err) for done in before] == [(0, "")] * len(commands)
    with pytest.raises(ModelError):
        night(model=tmp_path / "mistyped.onnx")
    for command, earlier in zip(commands, before, strict=True):
        force = ["--force"] if "-o" in command else []
        done = boatinfer(*command, *force)
        assert (done.code, done.out) == (0, earlier.out)
        sentences = done.err.splitlines()
        assert len(sentences) == (2 if command[0] == "compare" else 1)
        assert "is not complete (the model " in sentences[0]
        assert "this is of the last complete one" in sentences[0]
    assert json.loads((out / "run.json").read_text())["exit_code"] == 4


@pytest.mark.parametrize("merged", [False, True])
def test_what_an_incomplete_run_recorded_is_not_mixed_in(
    night: Callable[..., Summary],
    interrupted: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    merged: bool,
) -> None:
    monkeypatch.setattr(compaction, "MANY_PARTS", 1 if merged else 99)
    night()
    before = contents(tmp_path / "out")
    interrupted()
    assert contents(tmp_path / "out") == before
    assert not list(find_damage(Results(tmp_path / "out")))
    assert night().classified < 3  # what the interrupted run did is done
    after = contents(tmp_path / "out")
    assert {path for path in after if after[path] != before[path]} == {
        f"blue/00{number}.jpg" for number in range(3)
    }


def test_results_tells_of_an_interrupted_run(
    boatinfer: Command,
    night: Callable[..., Summary],
    interrupted: Callable[..., None],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    interrupted()
    done = boatinfer("results", out, "--verify")
    assert done.code == 0
    assert "exit code 143: interrupted" in done.out
    assert "\nfound  " not in done.out
    assert done.out.endswith("verified: every part is whole\n")
    with pytest.raises(UsageError, match="no complete run"):
        Results(out).last_finished()
    summary = night()
    interrupted(fresh=True)
    done = boatinfer("results", out, "--verify")
    assert f"complete    {summary.run} ({local_time(summary.started)}), exit code 0" in done.out
    assert "found       12 = " in done.out
    assert "the last complete run has all its rows" in done.out
    part = next(Results(out).parts.folder.iterdir())
    part.write_bytes(part.read_bytes()[:-9])
    done = boatinfer("results", out, "--verify")
    assert (done.code, done.out, part.name in done.err) == (7, "", True)


def test_results_tells_of_a_run_in_progress_and_of_a_killed_one(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(tmp_path / "out")
    monkeypatch.setattr("boatinfer.pipeline.engines.local.PART_ROWS", 1)
    said: list[str] = []
    work = Classifier.__call__

    def look(self: Classifier, batch: Any) -> list[Row]:
        said.append(folder_status(results)["last run"])
        assert not list(find_damage(results))
        while len(said) == 8 and "; 0 images recorded" in said[-1]:  # another thread records them
            time.sleep(0.01)
            said[-1] = folder_status(results)["last run"]
        if len(said) == 8:
            raise KeyboardInterrupt  # as a kill: nobody is told
        return work(self, batch)

    monkeypatch.setattr(Classifier, "__call__", look)
    with pytest.raises(KeyboardInterrupt):
        night(batch_size=1, threads=1)
    assert f"in progress, by process {os.getpid()} on " in said[-1]
    assert "killed; 7 images recorded" in folder_status(results)["last run"]


def test_two_models_by_turns_do_nothing_twice(
    night: Callable[..., Summary], pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(notes="other"))
    assert counts(night()) == (12, 12, 0, 0)
    assert counts(night(model=other)) == (12, 12, 0, 0)
    (pictures / "red" / "000.jpg").rename(pictures / "renamed.jpg")
    for model in (model_file, other, model_file):
        summary = night(model=model)
        assert counts(summary) == (12, 0, 12, 0)
        assert len(contents(tmp_path / "out")) == 12
    assert "12 ever recorded" not in folder_status(Results(tmp_path / "out"))["images"]
    assert len(folder_status(Results(tmp_path / "out"))["models"].split(", ")) == 2


def test_another_models_rows_outlive_one_merge_and_no_more(
    night: Callable[..., Summary],
    tmp_path: Path,
    model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "MANY_PARTS", 1)
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(notes="other"))
    night()
    for model in (other, model_file, other, model_file):
        summary = night(model=model)
    assert summary.reused == 12
    for _ in range(2):
        night(model=other)
    assert night(model=model_file).classified == 12


@pytest.mark.parametrize("error", [KeyboardInterrupt, BoatinferError])  # as a kill, and told
@pytest.mark.parametrize(
    "dies",
    [
        ("published_tables.write_tables", 12),
        ("RunContext.close", 12),
        ("Results.write_current", 12),
        ("proof.count_labels", 12),
        ("RunContext.report", 13),
        ("Results.write_summary", 13),
    ],
)
def test_wherever_a_run_dies_a_complete_run_can_be_read(
    night: Callable[..., Summary],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dies: tuple[str, int],
    error: type[BaseException],
) -> None:
    step, found = dies
    results, before = Results(tmp_path / "out"), night()
    (tmp_path / "pictures" / "new.jpg").write_bytes(colours.picture("blue", seed=50))
    work = proof.prove

    def die_after_the_proof(*arguments: Any) -> proof.Proof:
        proved = work(*arguments)

        def die(*_: Any, **__: Any) -> None:
            raise error("died")

        dying.setattr(f"boatinfer.pipeline.run.{step}", die)
        return proved

    with monkeypatch.context() as dying:
        dying.setattr(proof, "prove", die_after_the_proof)
        with pytest.raises(error, match="died"):
            night()
    assert results.current().num_rows == found
    complete = results.last_finished()
    assert (complete.complete, complete.exit_code, complete.found) == (True, 0, found)
    assert (complete == before) == (found == 12)
    written = step != "published_tables.write_tables" and found == 12
    named = {said.split(" ")[0] for said in find_damage(results)}
    assert named == ({str(results.predictions), str(results.whole)} if written else set())
    assert counts(night()) == (13, 0, 13, 0)
    assert not list(find_damage(results))


@pytest.mark.parametrize("dies", ["store.compaction.remove", "folder.Results.write_current"])
def test_a_run_that_dies_while_it_merges_parts_can_be_read(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dies: str,
) -> None:
    """The new parts are current before the old ones go."""
    night()
    (pictures / "new.jpg").write_bytes(colours.picture("blue", seed=50))
    monkeypatch.setattr(compaction, "MANY_PARTS", 1)
    merge = compaction.merge

    def die_after_it(*arguments: Any) -> Any:
        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        dying.setattr(f"boatinfer.results.{dies}", die)
        return merge(*arguments)

    with monkeypatch.context() as dying:
        dying.setattr(compaction, "merge", die_after_it)
        with pytest.raises(KeyboardInterrupt):
            night()
    results = Results(tmp_path / "out")
    assert results.current().num_rows == 13
    assert not list(find_damage(results))
    assert counts(night()) == (13, 0, 13, 0)


TABLES = ("failures.csv", "predictions.csv", "predictions.parquet", "review.csv")


@pytest.mark.parametrize(
    "fails",
    [
        ("predictions.csv", KeyboardInterrupt()),
        ("predictions.csv", OSError(28, "No space left on device")),
        ("failures.csv", OSError(28, "No space left on device")),
        ("predictions.parquet", OSError(28, "No space left on device")),
    ],
)
def test_a_table_that_cannot_be_written_leaves_all_of_the_last_run(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: tuple[str, BaseException],
) -> None:
    table, error = fails
    options = {"min_confidence": 1, "max_failures": "2"}
    out = tmp_path / "out"
    (pictures / "bad.jpg").write_text("hello")
    night(**options)
    before = [(out / name).read_bytes() for name in TABLES]
    for name in ("worse.jpg", "red/000.jpg"):
        (pictures / name).write_text("hello")
    digest = csv_files.csv_digest

    def fail(path: Path) -> str:
        if table in path.name:
            raise error
        return digest(path)

    with monkeypatch.context() as failing:
        for module in (csv_files, whole):
            failing.setattr(module, "csv_digest", fail)
        with pytest.raises((KeyboardInterrupt, OutputError), match=f"^$|{table} could not be"):
            night(**options)
    assert [(out / name).read_bytes() for name in TABLES] == before
    assert not list(out.glob("*.tmp")) + list(find_damage(Results(out)))
    night(**options)
    after = [(out / name).read_bytes() for name in TABLES]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_bucket_that_refuses_a_table_keeps_those_of_the_last_run(
    night: Callable[..., Summary], pictures: Path, bucket: str, s3: Server
) -> None:
    out = place(f"s3://{bucket}/out")
    night(out=out)
    before = [(out / name).read_bytes() for name in TABLES[:2]]
    (pictures / "bad.jpg").write_text("hello")
    denied = (403, "AccessDenied")
    s3.misbehaves = lambda method, path: (
        denied if method == "PUT" and path.endswith("predictions.csv") else None
    )
    with pytest.raises(OutputError, match=r"predictions\.csv could not be written"):
        night(out=out)
    s3.behave()
    assert [(out / name).read_bytes() for name in TABLES[:2]] == before
