from __future__ import annotations

import contextlib
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
from boatinfer import signals
from boatinfer.errors import (
    BoatinferError,
    BusyError,
    ModelError,
    OutputError,
    RunInterruptedError,
    UsageError,
)
from boatinfer.models.card import Outputs
from boatinfer.models.model import Model, open_model
from boatinfer.pipeline.classifier import Classifier
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import Progress, run
from boatinfer.results.folder import Results
from boatinfer.results.store.parts import Parts
from boatinfer.results.store.rows import Row
from boatinfer.results.summary import Summary
from support import counts, rows


@pytest.mark.parametrize(
    ("allowed", "code"), [("5%", 3), ("7%", 3), ("8%", 0), ("0", 3), ("1", 0), ("100%", 0)]
)
def test_failures_beyond_the_limit_are_exit_code_3(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path, allowed: str, code: int
) -> None:
    (pictures / "bad.jpg").write_text("hello")  # one of 13: 7.7 %
    summary = night(max_failures=allowed)
    assert (summary.complete, summary.exit_code) == (True, code)
    why = f"1 of 13 new images failed, more than --max-failures {allowed} allows."
    assert summary.error == (why if code else None)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["exit_code"] == code


@pytest.mark.parametrize("earlier", [False, True])
def test_a_lost_row_is_noticed(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    earlier: bool,
) -> None:
    """Even where an older row of the same path is there, of the image as it was then."""
    if earlier:
        night()
        for name in ("000.jpg", "001.jpg"):
            (pictures / "blue" / name).write_bytes(colours.picture("green", seed=77))
    append = Parts.append

    def lose(self: Parts, rows: list[Row], *arguments: Any) -> None:
        append(self, rows[1:], *arguments)

    monkeypatch.setattr(Parts, "append", lose)
    with pytest.raises(BoatinferError, match="do not account for") as raised:
        night()
    assert raised.value.exit_code == 1
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (written["complete"], written["exit_code"]) == (False, 1)
    assert "Not complete" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("bad", ["x", "-1", "-5%", "5 percent", "%", "nan%", "100.1%", "inf%"])
def test_a_limit_that_is_no_number_is_refused(night: Callable[..., Summary], bad: str) -> None:
    with pytest.raises(UsageError, match="--max-failures"):
        night(max_failures=bad)


def test_what_cannot_start_leaves_nothing(
    night: Callable[..., Summary], pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.onnx").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    for changes, error in [
        ({"folder": tmp_path / "nowhere"}, UsageError),
        ({"folder": model_file}, UsageError),
        ({"folder": tmp_path / "empty"}, UsageError),
        ({"model": tmp_path / "text.onnx"}, ModelError),
        ({"model": tmp_path / "none.onnx"}, ModelError),
        ({"svm": tmp_path / "none.joblib"}, ModelError),
    ]:
        with pytest.raises(error):
            night(**changes)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_without_features_cannot_give_them(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    bare = colours.card(outputs=Outputs(probabilities="probabilities"), features=None)
    with pytest.raises(UsageError, match="no feature output"):
        night(model=colours.write_model(tmp_path / "bare.onnx", card=bare), features=True)


def test_a_held_folder_ends_the_second_run_and_says_who_holds_it(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    results = Results(tmp_path / "out")
    with results.lock(str(pictures)), pytest.raises(BusyError, match=f"process {os.getpid()} on "):
        night()
    assert night().classified == 12


def test_of_two_runs_that_make_the_folder_together_one_waits_for_nobody(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other run takes the new folder while this one opens its model."""
    results = Results(tmp_path / "out")
    with contextlib.ExitStack() as other:

        def overtake(*arguments: Any, **options: Any) -> Model:
            other.enter_context(results.lock(str(pictures)))
            return open_model(*arguments, **options)

        monkeypatch.setattr("boatinfer.pipeline.run.open_model", overtake)
        with pytest.raises(BusyError):
            night()
        assert not results.run_json.exists()


def test_a_folder_that_cannot_be_written_is_exit_code_7(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"):
        night(out=tmp_path / "file" / "out")


def test_results_that_have_become_read_only_stay_as_they_are(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    out, opening = tmp_path / "out", os.open
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def refuse(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if str(path).startswith(str(out)) and flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system")  # the superuser may write everywhere else
        return opening(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match="Read-only file system"):
        night()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_full_disk_loses_nothing_that_was_written(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = itertools.count()
    write = Path.write_bytes

    def fill(self: Path, content: bytes) -> int:
        if ".parquet" in self.name and next(writes) == 2:
            raise OSError(28, "No space left on device")
        return write(self, content)

    monkeypatch.setattr("boatinfer.pipeline.engines.local.PART_ROWS", 3)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", fill)
        with pytest.raises(OutputError, match="No space left"):
            night(batch_size=3, threads=1)
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert counts(night()) == (12, 6, 6, 0)


def test_leftovers_of_a_killed_run_are_cleaned_and_nothing_else(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night()
    leftover = tmp_path / "out" / "parts" / ".000002-0123456789abcdef.parquet.123.tmp"
    leftover.write_bytes(b"half")
    (tmp_path / "out" / "mine").mkdir()
    names = [".notes.tmp", ".notes.2024.tmp", "..5.tmp", "mine/.run.json.1.tmp"]
    others = [tmp_path / "out" / name for name in names]
    for other in others:
        other.touch()
    (tmp_path / "out" / ".folder.1.tmp").mkdir()
    assert night().reused == 12
    assert not leftover.exists()
    assert all(other.exists() for other in others)


def test_a_folder_of_other_things_is_not_filled(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter.txt").touch()
    for folder in (tmp_path / "documents", pictures):
        before = sorted(folder.rglob("*"))
        with pytest.raises(UsageError, match=r"other files than results|itself"):
            night(out=folder)
        assert sorted(folder.rglob("*")) == before


def test_a_folder_called_parts_makes_no_results_folder(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    (shop / "parts").mkdir(parents=True)
    (shop / "letter.txt").touch()
    with pytest.raises(UsageError, match="other files than results"):
        night(out=shop)
    (tmp_path / "empty").mkdir()
    (tmp_path / "new").mkdir()
    with pytest.raises(UsageError, match="no image files"):
        night(folder=tmp_path / "empty", out=tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_a_progress_display_that_breaks_costs_no_rows(
    model_file: Path, pictures: Path, tmp_path: Path
) -> None:
    def broken(now: Progress) -> None:
        if now.done >= 8:
            raise BrokenPipeError

    options = RunOptions(pictures, tmp_path / "out", model_file, batch_size=4, threads=1)
    with pytest.raises(BrokenPipeError):
        run(options, broken)
    assert run(options).reused >= 8


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(
    night: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.signal(number, signal.SIG_IGN)  # as nohup does
    try:
        work = Classifier.__call__

        def signalled(self: Classifier, batch: Any) -> list[Row]:
            os.kill(os.getpid(), number)
            return work(self, batch)

        monkeypatch.setattr(Classifier, "__call__", signalled)
        assert night().classified == 12
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("changes", [{"top": 30}, {"limit": 0}, {"threads": -1}])
def test_numbers_out_of_range_are_refused(
    night: Callable[..., Summary], changes: dict[str, int]
) -> None:
    with pytest.raises(UsageError, match="must be from 1"):
        night(**changes)


def test_a_model_named_by_no_text_is_still_one_sentence(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night()
    with pytest.raises(ModelError):
        night(model=Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.onnx")))
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert "m\\xff.onnx" in written["error"]


def test_a_folder_that_cannot_be_listed_fails_the_night(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours.write_pictures(pictures / "more", each=20)
    opening = os.open

    def refuse(path: Any, *flags: int) -> int:
        if str(path).endswith("green"):  # the superuser may open every folder
            raise PermissionError(13, "Permission denied")
        return opening(path, *flags)

    monkeypatch.setattr("boatinfer.storage.listing.os.open", refuse)
    summary = night()
    assert (summary.complete, summary.exit_code) == (True, 8)
    assert (summary.unlisted, summary.error) == (2, "2 folders could not be listed.")
    html = (tmp_path / "out" / "report.html").read_text()
    assert "2 folders could not be listed." in html
    assert "Complete, but not every folder could be listed" in html
    (pictures / "bad.jpg").write_text("hello")
    both = night(max_failures="0")
    assert both.exit_code == 8
    assert "--max-failures 0 allows, and 2 folders could not be listed." in str(both.error)
    assert {row["path"] for row in rows(tmp_path / "out", "failures.csv")} == {
        *("bad.jpg", "green/", "more/green/"),
    }


def test_a_failed_start_is_told_where_last_nights_success_stood(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    night()
    with pytest.raises(ModelError):
        night(model=tmp_path / "none.onnx")
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (written["complete"], written["exit_code"]) == (False, 4)
    assert "none.onnx" in written["error"]
    assert "none.onnx" in (tmp_path / "out" / "report.html").read_text()
    night(report=False)
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_killed_run_leaves_a_report_that_says_so(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()

    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(Classifier, "__call__", kill)
        with pytest.raises(KeyboardInterrupt):
            night(fresh=True)
    assert "Not finished" in (tmp_path / "out" / "report.html").read_text()
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (written["finished"], written["complete"]) == (None, False)


def test_names_of_folders_that_are_no_text(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    odd = pictures.rename(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    assert night(folder=odd).found == 12
    assert night(folder=odd).folder.endswith("odd\\xff")
    with pytest.raises(UsageError, match="not valid UTF-8"):
        night(folder=odd, out=Path(os.fsdecode(os.fsencode(tmp_path) + b"/out\xff")))


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_keeps_what_was_done(
    night: Callable[..., Summary],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    before = signal.getsignal(number)
    work = Classifier.__call__
    batches = itertools.count()

    def slow(self: Classifier, batch: Any) -> list[Row]:
        if next(batches) == 3:
            for _ in range(2):  # as whoever signals a process and its group does
                os.kill(os.getpid(), number)
        time.sleep(0.02)
        return work(self, batch)

    with monkeypatch.context() as slowed:
        slowed.setattr(Classifier, "__call__", slow)
        with pytest.raises(RunInterruptedError, match="continues from there") as raised:
            night(batch_size=1, threads=1)
    assert raised.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (written["complete"], written["exit_code"]) == (False, 128 + number)
    assert 0 < written["classified"] < 12
    assert not (tmp_path / "out" / "predictions.csv").exists()
    summary = night()
    assert (summary.reused, summary.complete) == (written["classified"], True)
