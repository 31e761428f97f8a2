"""Figures of nights for Prometheus: that they are right, and that nothing failed looks well."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_fd_to_metric_families

from boatinfer.errors import OutputError
from boatinfer.night import gauges
from boatinfer.night.config import Night
from boatinfer.night.problems import find_night_problems
from boatinfer.night.record import FolderResult, NightResult, Record, record_file
from boatinfer.night.running import lock_of, run_night
from boatinfer.results.summary import read_summary
from boatinfer.storage.locks import hold_lock
from nightly import FAKE, parsed, write
from support import Command

TABLE = '[metrics]\nfile = "metrics/night.prom"\n'
ENDPOINT = "AWS_ENDPOINT_URL_S3"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

Figures = dict[str, float]


@pytest.fixture
def night(tmp_path: Path) -> Night:
    (tmp_path / "metrics").mkdir()
    return parsed(tmp_path, FAKE + TABLE)


def read(folder: Path, name: str) -> Figures:
    """The figures of a folder, without the beginning of their names; labels after a blank."""
    figures: Figures = {}
    with (folder / "metrics" / "night.prom").open() as file:
        for family in text_fd_to_metric_families(file):
            assert family.type == "gauge"
            assert family.documentation
            for sample in family.samples:
                labels = dict(sample.labels)
                if labels.pop("folder") == name:
                    key = " ".join([sample.name.removeprefix("boatinfer_"), *labels.values()])
                    figures[key] = sample.value
    return figures


def test_the_figures_are_those_of_the_run(
    tmp_path: Path, pictures: Path, model_file: Path, boatinfer: Command
) -> None:
    (tmp_path / "metrics").mkdir()
    folder = '[[folder]]\nname = "a \\"b\\""\ndir = "pictures"\nmodel = "colours.onnx"\n'
    folder += "min-confidence = 1.0\n"
    file = write(tmp_path, folder + TABLE)
    boatinfer("night", "run", "-c", file)
    (out,) = (tmp_path / "boatinfer-out").iterdir()
    summary = read_summary(out / "run.json")
    assert summary is not None
    figures = read(tmp_path, 'a "b"')
    start = datetime.fromisoformat(summary.started).timestamp()
    assert figures["last_exit_code"] == 0
    assert figures["found_images"] == figures["new_images"] == summary.found
    assert figures["failed_images"] == summary.failed
    assert figures["images_per_second"] == summary.images_per_second
    assert figures["unreviewed_images"] == summary.unsure > 0
    assert int(figures["oldest_unreviewed_timestamp_seconds"]) == int(start)
    for label, count in summary.labels.items():
        assert figures[f"label_images {label}"] == figures[f"new_label_images {label}"] == count
    assert figures[f"model_info {summary.model_name} {summary.model}"] == 1
    assert 0 <= start - figures["last_start_timestamp_seconds"] < figures["last_duration_seconds"]
    assert figures["last_end_timestamp_seconds"] == figures["last_success_timestamp_seconds"]
    promtool = shutil.which("promtool")
    if promtool:
        with (tmp_path / "metrics" / "night.prom").open() as metrics:
            subprocess.run([promtool, "check", "metrics"], stdin=metrics, check=True)


def test_a_failure_takes_the_place_of_all_that_was_well(
    tmp_path: Path, scripts: dict[str, str], night: Night
) -> None:
    run_night(night, clock=lambda: NOON)
    well = read(tmp_path, "first")
    assert well["last_exit_code"] == 0
    scripts["first"] = "import sys; sys.exit(4)"
    later = NOON + timedelta(days=1)
    run_night(night, clock=lambda: later)
    figures = read(tmp_path, "first")
    assert figures["last_exit_code"] == 4
    assert figures["last_start_timestamp_seconds"] == later.timestamp()
    assert figures["last_success_timestamp_seconds"] == well["last_success_timestamp_seconds"]
    assert set(figures) == {
        *("last_start_timestamp_seconds", "last_end_timestamp_seconds", "last_exit_code"),
        *("last_success_timestamp_seconds", "last_duration_seconds"),
    }
    assert read(tmp_path, "second")["last_exit_code"] == 0


def test_while_a_night_goes_on_and_after_a_kill_nothing_looks_well(
    tmp_path: Path, scripts: dict[str, str], night: Night
) -> None:
    """The second folder's run copies the file, as it would stay if the night were killed now."""
    run_night(night, clock=lambda: NOON)
    prom = tmp_path / "metrics" / "night.prom"
    scripts["second"] = f"import shutil; shutil.copy({str(prom)!r}, {str(prom)!r} + '.killed')"
    later = NOON + timedelta(days=1)
    run_night(night, clock=lambda: later)
    shutil.copy(f"{prom}.killed", prom)
    assert read(tmp_path, "first")["last_exit_code"] == 0
    figures = read(tmp_path, "second")
    success = figures.pop("last_success_timestamp_seconds")
    assert NOON.timestamp() <= success < NOON.timestamp() + 60
    assert figures == {
        "last_start_timestamp_seconds": later.timestamp(),
        "last_exit_code": -1,
    }


def test_a_night_of_some_folders_leaves_the_figures_of_the_others(
    tmp_path: Path, scripts: dict[str, str], night: Night
) -> None:
    run_night(night, clock=lambda: NOON)
    before = read(tmp_path, "second")
    run_night(night, ["first"], clock=lambda: NOON + timedelta(hours=1))
    assert read(tmp_path, "second") == before
    assert read(tmp_path, "first")["last_start_timestamp_seconds"] == NOON.timestamp() + 3600


def test_an_error_of_the_night_itself_shows_in_all_its_folders(
    tmp_path: Path, scripts: dict[str, str], night: Night
) -> None:
    run_night(night)
    record_file(night).write_text("no record")
    with pytest.raises(OutputError):
        run_night(night)
    for name in ("first", "second"):
        assert read(tmp_path, name)["last_exit_code"] == 7


def test_a_second_night_leaves_the_figures_to_the_first(
    tmp_path: Path, scripts: dict[str, str], night: Night, boatinfer: Command
) -> None:
    run_night(night)
    before = read(tmp_path, "first")
    with hold_lock(lock_of(night), "a night"):
        assert boatinfer("night", "run", "-c", night.file).code == 6
    assert read(tmp_path, "first") == before


def test_a_folder_without_a_success_has_one_in_1970(
    tmp_path: Path, scripts: dict[str, str], night: Night
) -> None:
    """So that an alert on the time since then sounds; one on what is absent would not."""
    scripts["first"] = "import sys; sys.exit(1)"
    run_night(night)
    assert read(tmp_path, "first")["last_success_timestamp_seconds"] == 0


Break = Callable[[Path], None]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "does not exist; make it, or choose another."),
        (lambda folder: folder.touch(), "does not exist; make it, or choose another."),
    ],
)
def test_a_folder_for_metrics_that_is_not_there_fails_no_night(
    tmp_path: Path, scripts: dict[str, str], boatinfer: Command, make: Break, said: str
) -> None:
    make(tmp_path / "metrics")
    file = write(tmp_path, "allow-empty = true" + FAKE + TABLE)
    ended = boatinfer("night", "run", "-c", file)
    assert ended.code == 0
    sentence = f"boatinfer: {file}, line 9: the metrics folder {tmp_path / 'metrics'} {said}\n"
    assert ended.err == sentence
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    plan = boatinfer("night", "plan", "-c", file)
    assert plan.code == 0
    assert sentence.replace("boatinfer: ", "boatinfer: warning: ", 1) in plan.err


def test_a_folder_that_may_not_be_written_to_is_told_with_its_line(
    tmp_path: Path, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_night_problems(night) == []
    monkeypatch.setattr(os, "access", lambda *_: False)
    (problem,) = find_night_problems(night)
    assert str(problem).startswith(f"{night.file}, line 9: the metrics folder")
    assert "may not be written to; give this user the right" in str(problem)


def test_figures_that_cannot_be_written_leave_none_that_look_well(
    tmp_path: Path, scripts: dict[str, str], night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_night(night)
    prom = tmp_path / "metrics" / "night.prom"
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target) == prom:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    result = run_night(night)
    assert not prom.exists()
    (remark,) = result.remarks
    assert remark.startswith(f"{night.file}, line 9: {prom} could not be written: No space left")


def test_without_the_client_the_line_that_installs_it_is_told(
    tmp_path: Path, scripts: dict[str, str], night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    result = run_night(night)
    assert result.exit_code == 0
    (remark,) = result.remarks
    assert "line 9: metrics needs prometheus_client, which is not installed; run pip" in remark
    assert "[metrics]'" in remark


def test_a_table_that_people_have_spoiled_neither_ends_a_night_nor_hides_its_figures(
    tmp_path: Path, pictures: Path, model_file: Path, boatinfer: Command
) -> None:
    (tmp_path / "metrics").mkdir()
    folder = '[[folder]]\nname = "{}"\ndir = "pictures"\nmodel = "colours.onnx"\n'
    folder += "min-confidence = 1.0\n"
    file = write(tmp_path, folder.format("first") + folder.format("second") + TABLE)
    assert boatinfer("night", "run", "-c", file).code == 0
    review = tmp_path / "boatinfer-out" / "first" / "review.csv"
    review.write_text("path,run\nx,notarun\n")
    gauges._details.cache_clear()  # each night is a process of its own
    assert boatinfer("night", "run", "-c", file, "second").code == 0
    assert read(tmp_path, "second")["last_exit_code"] == 0
    assert read(tmp_path, "first")["unreviewed_images"] == 1


def test_figures_that_cannot_be_made_are_not_those_of_another_night(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics" / "night.prom").write_text("boatinfer_last_exit_code 0.0\n")

    def fails(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("boatinfer.night.reporting.write_metrics", fails)
    result = run_night(night)
    assert [remark for remark in result.remarks if "no metrics: ValueError" in remark]
    assert not (tmp_path / "metrics" / "night.prom").exists()


def test_results_in_a_bucket_are_read_at_their_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        gauges, "_details", lambda out, _: asked.append((str(out), os.environ[ENDPOINT]))
    )
    text = FAKE.replace("[[folder]]", 'endpoint = "http://server:9"\n[[folder]]', 1)
    (tmp_path / "metrics").mkdir()
    night = parsed(
        tmp_path, text.replace('"first"\n[', '"first"\nout = "s3://bucket/out"\n[') + TABLE
    )
    result = FolderResult(name="first", run="x", started=NOON.isoformat(), exit_code=0)
    record = Record(
        config="", nights=[NightResult(started=NOON.isoformat(), whole=True, folders=[result])]
    )
    assert night.metrics is not None
    gauges.write_metrics(night, record, night.folders, night.metrics)
    assert asked == [("s3://bucket/out", "http://server:9")]
