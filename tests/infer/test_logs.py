"""Standard error as text, as lines of JSON, and with priorities for the journal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boatinfer import logs
from boatinfer.logs import Level, LogFormat, say
from boatinfer.night.command import PYTHON
from boatinfer.night.log import FolderLog
from boatinfer.night.running import run_night
from listeners import SECRET
from nightly import FAKE, parsed, write
from support import Command


@pytest.fixture(autouse=True)
def text_again() -> Iterator[None]:
    hook = sys.excepthook
    yield
    logs.use(LogFormat.TEXT)
    sys.excepthook = hook


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_says_in_json_when_it_starts_and_what_it_came_to(
    pictures: Path, model_file: Path, boatinfer: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = boatinfer("run", pictures, "-o", out, "-m", model_file, "--log-format", "json")
    summary = json.loads((out / "run.json").read_text())
    said = lines(ended.err)
    assert ended.out == ""
    assert said[0]["message"] == "the run has started"
    assert {line["run"] for line in said} == {summary["run"]}
    assert {line["folder"] for line in said} == {str(pictures)}
    last = next(line for line in said if line["message"] == "the run has ended")
    for name in ("found", "classified", "failed", "exit_code"):
        assert last[name] == summary[name]
    assert all(line["time"] and line["level"] in {"info", "warning", "error"} for line in said)
    again = boatinfer(
        "run", pictures, "-o", out, "-m", model_file, "--log-format", "json", "--json"
    )
    assert json.loads(again.out)["found"] == summary["found"]
    quiet = boatinfer("run", pictures, "-o", out, "-m", model_file, "--log-format=json", "--quiet")
    assert (quiet.out, quiet.err) == ("", "")


def test_an_error_is_a_line_of_json(boatinfer: Command, tmp_path: Path) -> None:
    ended = boatinfer("run", tmp_path / "none", "-o", tmp_path / "out", "--log-format", "json")
    assert ended.code == 2
    (error,) = [line for line in lines(ended.err) if line["level"] == "error"]
    assert "does not exist" in error["message"]
    assert error["run"]


def test_a_night_tells_the_run_and_folder_of_each_line(
    pictures: Path, model_file: Path, boatinfer: Command, tmp_path: Path
) -> None:
    text = '[[folder]]\nname = "first"\ndir = "pictures"\nmodel = "colours.onnx"\n'
    broken = '[[folder]]\nname = "second"\ndir = "gone"\n'
    file = write(tmp_path, text + broken)
    ended = boatinfer("night", "run", "-c", file, "--log-format", "json")
    assert ended.out == ""
    said = lines(ended.err)
    run = json.loads((tmp_path / "boatinfer-out" / "first" / "run.json").read_text())["run"]
    first = next(line for line in said if line.get("folder") == "first" and "found" in line)
    assert (first["run"], first["exit_code"], first["level"]) == (run, 0, "info")
    second = next(line for line in said if line.get("folder") == "second")
    assert (second["exit_code"], second["level"]) == (2, "error")
    assert f"{file}, line 7: dir" in second["message"]
    assert (said[-1]["message"], said[-1]["exit_code"]) == ("the night has ended", 2)


def test_what_a_run_says_is_passed_on_with_the_folder(
    tmp_path: Path, scripts: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    line = json.dumps({"time": "t", "level": "warning", "message": "a part", "run": "r"})
    scripts["first"] = (
        f"import sys; print({line!r}, file=sys.stderr); print('Trace', file=sys.stderr)"
    )
    night = parsed(tmp_path, FAKE)
    run_night(night)
    assert capfd.readouterr().err == "boatinfer: a part\nTrace\n"
    logs.use(LogFormat.JSON)
    run_night(night)
    said = [{**line, "time": ""} for line in lines(capfd.readouterr().err)]
    assert said == [
        {"time": "", "level": "warning", "message": "a part", "folder": "first", "run": "r"},
        {"time": "", "level": "warning", "message": "Trace", "folder": "first"},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "boatinfer: ours",
        "{",
        "[]",
        "3",
        "null",
        '{"level": "odd", "message": "m"}',
        '{"level": 3}',
        "[" * 100_000,
    ],
)
def test_what_is_no_line_of_ours_is_text(text: str) -> None:
    log = FolderLog("a")
    log.gather(io.StringIO(f"{text}\n"))
    assert log.text == text
    assert log.last_words == text.removeprefix("boatinfer: ")


def test_the_end_of_a_long_log_is_kept() -> None:
    log = FolderLog("a")
    log.gather(io.StringIO("".join(f"line {number}\n" for number in range(1000))))
    kept = log.text.splitlines()
    assert (kept[0], kept[-1]) == ("line 800", "line 999")


def test_control_characters_are_escaped_in_both_formats(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say(Level.ERROR, "a\x1b[31m\nb")
    assert capsys.readouterr().err == "boatinfer: a\\x1b[31m\\nb\n"
    logs.use(LogFormat.JSON)
    say(Level.ERROR, "a\x1b[31m\nb")
    (line,) = lines(capsys.readouterr().err)
    assert line["message"] == "a\x1b[31m\nb"


CODE = """
import os, sys
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino + int(sys.argv[1])}"
from boatinfer.logs import Level, LogFormat, say, use
say(Level.ERROR, "bad")
say(Level.INFO, "fine", head="")
use(LogFormat.JSON)
say(Level.WARNING, "odd")
raise ValueError("a bug")
"""


@pytest.mark.parametrize("other", [0, 1])
def test_the_journal_gets_priorities(other: int) -> None:
    """``JOURNAL_STREAM`` names the file that the journal reads; another is left without."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(other)], capture_output=True, text=True, check=False
    )
    said = done.stderr.splitlines()
    if other:
        assert said[:2] == ["boatinfer: bad", "fine"]
        assert said[2].startswith("{")
        return
    assert said[:2] == ["<3>boatinfer: bad", "<6>fine"]
    assert [line[:4] for line in said[2:]] == ["<4>{", "<2>{"]
    assert "Traceback" in json.loads(said[3][3:])["traceback"]


def test_the_traceback_of_a_bug_in_a_folder_is_passed_on(
    boatinfer: Command, tmp_path: Path, scripts: dict[str, str]
) -> None:
    scripts["first"] = (
        "from boatinfer.logs import LogFormat, use; use(LogFormat.JSON); raise ValueError('a bug')"
    )
    file = write(tmp_path, FAKE)
    ended = boatinfer("night", "run", "-c", file, "--log-format", "json")
    assert ended.code == 1
    (line,) = [line for line in lines(ended.err) if line["level"] == "critical"]
    assert (line["folder"], "Traceback" in line["traceback"]) == ("first", True)


def test_secrets_of_the_environment_are_in_no_log(tmp_path: Path) -> None:
    write(tmp_path, FAKE + '[notify]\nwebhooks = ["${HOOK}"]\nwhen = "always"')
    hook = {"HOOK": f"http://127.0.0.1:9/{SECRET}"}
    command = [*PYTHON, "night", "run", "-c", str(tmp_path / "night.toml"), "--log-format=json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | hook, check=False
    )
    assert done.returncode == 2  # there are no such folders
    assert "webhook 1 could not be told: the connection was refused" in done.stderr
    assert SECRET not in done.stdout + done.stderr
