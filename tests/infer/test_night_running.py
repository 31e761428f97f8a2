"""``boatinfer night run``, ``plan`` and ``status``, and the page of all folders."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest

from boatinfer.errors import NIGHT_MISSED, OutputError
from boatinfer.night import running
from boatinfer.night.command import run_command
from boatinfer.night.config import Night
from boatinfer.night.record import (
    FolderResult,
    NightResult,
    Record,
    read_record,
    record_file,
    worst,
)
from boatinfer.night.running import run_night
from boatinfer.night.status import night_status
from boatinfer.night.times import last_due, next_due
from boatinfer.pipeline.options import RunOptions
from boatinfer.storage.locks import hold_lock
from nightly import parsed, write
from support import Command, rows

#: Three folders, the second of which has no model.
THREE = """
model = "colours.onnx"
[[folder]]
name = "first"
dir = "pictures"
[[folder]]
name = "second"
dir = "pictures"
model = "missing.onnx"
[[folder]]
name = "inbox"
dir = "inbox"
allow-empty = true
"""

Replace = Callable[..., None]


@pytest.fixture
def three(tmp_path: Path, pictures: Path, model_file: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return write(tmp_path, THREE)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Replaces the runs of folders, by their results folder's name, with scripts of Python."""

    def replace(**scripts: str) -> None:
        def command(options: RunOptions) -> list[str]:
            script = scripts.get(options.results_folder.name)
            return run_command(options) if script is None else [sys.executable, "-c", script]

        monkeypatch.setattr("boatinfer.night.process.run_command", command)

    return replace


def codes(result: NightResult) -> dict[str, int | None]:
    return {folder.name: folder.exit_code for folder in result.folders}


def test_a_folder_that_fails_does_not_keep_the_others_from_being_run(
    three: Path, boatinfer: Command, tmp_path: Path, pictures: Path
) -> None:
    found = len(list(pictures.rglob("*.*")))
    ended = boatinfer("night", "run", "-c", three)
    assert ended.code == 4
    sentence = f"{three}, line 9: the model {tmp_path / 'missing.onnx'} does not exist"
    assert ended.err.startswith(f"boatinfer: second: {sentence}")
    table = {line.split()[0]: line.split()[1] for line in ended.out.splitlines() if "  " in line}
    assert table == {"folder": "exit", "first": "0", "second": "4", "inbox": "0"}
    assert len(rows(tmp_path / "boatinfer-out" / "first")) == found
    assert rows(tmp_path / "boatinfer-out" / "inbox") == []
    assert not (tmp_path / "boatinfer-out" / "second").exists()


def test_only_the_folders_named_are_run(three: Path, boatinfer: Command, tmp_path: Path) -> None:
    ended = boatinfer("night", "run", "-c", three, "--json", "inbox")
    result = json.loads(ended.out)
    assert (ended.code, result["whole"], result["exit_code"]) == (0, False, 0)
    assert [folder["name"] for folder in result["folders"]] == ["inbox"]
    ended = boatinfer("night", "run", "-c", three, "inbxo")
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean inbox?" in ended.err


def test_a_quiet_night_that_is_well_says_nothing(three: Path, boatinfer: Command) -> None:
    ended = boatinfer("night", "run", "-c", three, "--quiet", "first", "inbox")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_a_process_that_is_killed_is_told_and_the_next_is_run(
    three: Path, processes: Replace, tmp_path: Path
) -> None:
    kill = "import os; os.kill(os.getpid(), 9)"
    processes(first=kill, second="import sys; print('Trace', file=sys.stderr); sys.exit(3)")
    told: list[FolderResult] = []
    result = run_night(parsed(tmp_path, THREE), tell=told.append)
    assert codes(result) == {"first": 1, "second": 3, "inbox": 0}
    assert result.exit_code == 1
    assert told == result.folders
    assert told[0].error is not None
    assert "killed by SIGKILL, perhaps because memory ran out" in told[0].error
    assert told[1].error == "Trace"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_reaches_the_folder_and_stops_the_rest(
    three: Path, processes: Replace, tmp_path: Path, number: signal.Signals
) -> None:
    ready, got = tmp_path / "ready", tmp_path / "got"
    processes(
        second=f"""
import pathlib, signal, sys
def end(number, frame):
    pathlib.Path({str(got)!r}).write_text(str(int(number)))
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, end)
pathlib.Path({str(ready)!r}).touch()
while True:
    signal.pause()
"""
    )

    def send() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    result = run_night(parsed(tmp_path, THREE))
    sender.join()
    assert got.read_text() == str(int(number))
    assert codes(result) == {"first": 0, "second": 128 + number, "inbox": None}
    assert result.exit_code == 128 + number
    assert not (tmp_path / "boatinfer-out" / "inbox").exists()


#: Ends when the other of two folders has been started too.
MEET = """
import pathlib, time
pathlib.Path({own!r}).touch()
until = time.monotonic() + 30
while not pathlib.Path({other!r}).exists():
    time.sleep(0.01)
    assert time.monotonic() < until
"""


@pytest.mark.parametrize("where", ["argument", "schedule"])
def test_folders_run_at_the_same_time(
    three: Path, processes: Replace, tmp_path: Path, where: str
) -> None:
    first, second = str(tmp_path / "1"), str(tmp_path / "2")
    processes(
        first=MEET.format(own=first, other=second), second=MEET.format(own=second, other=first)
    )
    schedule = "[schedule]\nparallel = 2\n" if where == "schedule" else ""
    told: list[FolderResult] = []
    night = parsed(tmp_path, THREE + schedule)
    result = run_night(night, tell=told.append, parallel=2 if where == "argument" else None)
    assert codes(result) == {"first": 0, "second": 0, "inbox": 0}
    assert [folder.name for folder in result.folders] == ["first", "second", "inbox"]
    assert sorted(one.name for one in told) == ["first", "inbox", "second"]


def test_folders_that_run_at_the_same_time_share_the_machine(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, RunOptions] = {}

    def command(options: RunOptions) -> list[str]:
        seen[options.results_folder.name] = options
        return [sys.executable, "-c", ""]

    monkeypatch.setattr("boatinfer.night.process.run_command", command)
    monkeypatch.setattr("boatinfer.night.running.usable_cpus", lambda: 8)
    monkeypatch.setattr("boatinfer.night.running.free_memory", lambda: 8 << 30)
    own = THREE + 'threads = 5\nmemory = "1G"\n'
    run_night(parsed(tmp_path, own), parallel=2)
    assert {name: one.threads for name, one in seen.items()} == {
        **{"first": 4, "second": 4, "inbox": 5}
    }
    assert (seen["first"].memory, seen["inbox"].memory) == (3 << 30, 1 << 30)
    run_night(parsed(tmp_path, THREE), ["first"], parallel=2)  # alone, it has all of it
    assert (seen["first"].threads, seen["first"].memory) == (None, None)


def test_a_signal_reaches_all_folders_that_run(
    three: Path, processes: Replace, tmp_path: Path
) -> None:
    wait = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
pathlib.Path({!r}).touch()
while True:
    signal.pause()
"""
    ready = [tmp_path / "1", tmp_path / "2"]
    processes(first=wait.format(str(ready[0])), second=wait.format(str(ready[1])))

    def send() -> None:
        while not all(file.exists() for file in ready):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    result = run_night(parsed(tmp_path, THREE), parallel=2)
    sender.join()
    assert codes(result) == {"first": 143, "second": 143, "inbox": None}


def test_two_nights_of_a_file_do_not_meet(three: Path, boatinfer: Command, tmp_path: Path) -> None:
    lock = running.lock_of(parsed(tmp_path, THREE))
    with hold_lock(lock, "a night"):
        ended = boatinfer("night", "run", "-c", three)
        assert (ended.code, ended.out) == (6, "")
        assert f"a night of {three} goes on, in process {os.getpid()}" in ended.err
        assert f"goes on: process {os.getpid()}" in boatinfer("night", "status", "-c", three).out


def test_a_page_that_cannot_be_written_is_told_before_any_work(
    three: Path, boatinfer: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    three.write_text(f'index = "file/index.html"\n{THREE}')
    ended = boatinfer("night", "run", "-c", three)
    assert (ended.code, ended.out, ended.err.count("\n")) == (7, "", 1)
    assert not (tmp_path / "boatinfer-out").exists()


def test_the_worst_code_is_that_of_the_night() -> None:
    assert worst([]) == worst([None, 0]) == 0
    order = [0, 9, 8, 3, 6, 2, 5, 4, 7, 1, 143]
    for number in range(1, len(order)):
        assert worst([*order[:number], None, order[number], *order[:number]]) == order[number]


def test_plan_foretells_each_folder_and_writes_nothing(
    three: Path, boatinfer: Command, tmp_path: Path, pictures: Path
) -> None:
    found = len(list(pictures.rglob("*.*")))
    before = sorted(tmp_path.rglob("*"))
    ended = boatinfer("night", "plan", "-c", three)
    assert ended.code == 4
    assert f"first: {found} images found = {found} new + 0 changed" in ended.out
    assert "inbox: 0 images found" in ended.out
    assert f"second: {three}, line 9: the model" in ended.err
    assert sorted(tmp_path.rglob("*")) == before
    boatinfer("night", "run", "-c", three)
    said = {
        one["name"]: one
        for one in json.loads(boatinfer("night", "plan", "-c", three, "--json").out)
    }
    assert said["first"]["forecast"]["reused"] == found
    assert said["first"]["forecast"]["runs"] == 1
    assert said["second"]["forecast"] is None


def test_status_tells_of_the_last_night_of_each_folder(
    three: Path, boatinfer: Command, tmp_path: Path
) -> None:
    assert boatinfer("night", "status", "-c", three).code == 0
    boatinfer("night", "run", "-c", three)
    boatinfer("night", "run", "-c", three, "inbox")
    ended = boatinfer("night", "status", "-c", three)
    assert ended.code == 4
    assert "first: exit code 0" in ended.out
    assert "second: exit code 4" in ended.out
    assert "line 9: the model" in ended.out
    said = json.loads(boatinfer("night", "status", "-c", three, "--json").out)
    out = tmp_path / "boatinfer-out" / "first"
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    assert said["folders"][0]["disk_bytes"] == size
    assert (said["next"], said["missed"], said["exit_code"]) == (None, None, 4)


SCHEDULED = THREE + "[schedule]\nat = '02:00'\ndays = ['mon', 'thu']\n"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


def recorded(night: Night, *nights: NightResult) -> None:
    Record(config=str(night.file), nights=list(nights)).write(record_file(night))


@pytest.mark.parametrize(
    ("last", "now", "missed"),
    [
        (("2026-01-05 02:00", True), "2026-01-08 01:00", None),  # Monday's; Thursday's is to come
        (("2026-01-05 02:00", True), "2026-01-08 02:10", None),  # it may start a little later
        (("2026-01-05 02:00", True), "2026-01-08 02:16", "2026-01-08 02:00"),
        (("2026-01-08 02:01", True), "2026-01-08 02:16", None),
        (("2026-01-08 02:01", False), "2026-01-08 02:16", "2026-01-08 02:00"),  # of some folders
        (("2026-01-01 02:00", True), "2026-01-06 12:00", "2026-01-05 02:00"),
    ],
)
def test_a_night_that_was_due_and_did_not_start_is_told(
    tmp_path: Path, last: tuple[str, bool], now: str, missed: str | None
) -> None:
    night = parsed(tmp_path, SCHEDULED)
    nights = [(at(started).isoformat(), whole) for started, whole in (last, ("2025-12-29", True))]
    recorded(night, *(NightResult(started=s, whole=w, finished=s, exit_code=0) for s, w in nights))
    said = night_status(night, at(now))
    assert said.missed == (at(missed).isoformat(timespec="minutes") if missed else None)
    assert said.exit_code == (NIGHT_MISSED if missed else 0)


def test_results_that_may_not_be_written_are_in_the_status(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_text("no folder")
    night = parsed(tmp_path, '[[folder]]\nname = "a"\ndir = "in"\nout = "out"')
    assert night_status(night).exit_code == 7


def test_before_the_first_night_none_is_missed_until_one_was_due(
    three: Path, tmp_path: Path
) -> None:
    night = parsed(tmp_path, SCHEDULED)
    os.utime(night.file, (at("2026-01-06 12:00").timestamp(),) * 2)  # Tuesday
    assert night_status(night, at("2026-01-07 12:00")).missed is None
    assert night_status(night, at("2026-01-08 12:00")).exit_code == NIGHT_MISSED


def test_a_night_that_was_killed_is_told(three: Path, tmp_path: Path, boatinfer: Command) -> None:
    night = parsed(tmp_path, THREE)
    recorded(night, NightResult(started=at("2026-01-05 02:00").isoformat(), whole=True))
    ended = boatinfer("night", "status", "-c", three)
    assert ended.code == 1
    assert "killed: the night that started Mon 2026-01-05 02:00" in ended.out


def test_the_due_times_are_on_the_days_of_the_schedule(three: Path, tmp_path: Path) -> None:
    schedule = parsed(tmp_path, SCHEDULED).schedule
    assert schedule is not None
    assert next_due(schedule, at("2026-01-05 01:59")) == at("2026-01-05 02:00")
    assert next_due(schedule, at("2026-01-05 02:00")) == at("2026-01-08 02:00")
    assert last_due(schedule, at("2026-01-05 02:00")) == at("2026-01-05 02:00")
    assert last_due(schedule, at("2026-01-05 01:59")) == at("2026-01-01 02:00")
    assert next_due(schedule, at("2026-01-09 00:00")) - at("2026-01-09 00:00") < timedelta(4)


def test_the_page_leads_to_the_pages_of_the_folders(
    three: Path, boatinfer: Command, tmp_path: Path
) -> None:
    odd = tmp_path / "boat's 100% & <more>"
    odd.mkdir()
    three.write_text(THREE.replace('dir = "inbox"', f'dir = "inbox"\nout = "{odd.name}"'))
    boatinfer("night", "run", "-c", three)
    page = (tmp_path / "index.html").read_text()
    links = [piece.split('"')[0] for piece in page.split('<a href="')[1:]]
    first = tmp_path / "boatinfer-out" / "first"
    run = json.loads((first / "run.json").read_text())["run"]
    assert {(tmp_path / unquote(link)).resolve() for link in links} == {
        first / "reports" / f"{run}.html",  # the page of that night, which is kept
        odd / "report.html",  # nothing came in, so that there is none
    }
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    assert "exit code 4" in page
    assert "The last night ended with exit code 4: see second." in page


def test_the_record_of_another_file_is_not_overwritten(three: Path, tmp_path: Path) -> None:
    other = parsed(tmp_path, THREE)
    recorded(other)
    night = Night(tmp_path / "other.toml", other.folders, other.index)
    with pytest.raises(OutputError, match="give another index"):
        read_record(night)
    record_file(night).write_text("no record")
    with pytest.raises(OutputError, match="is no record of nights, or damaged"):
        run_night(other)
    assert record_file(night).read_text() == "no record"
