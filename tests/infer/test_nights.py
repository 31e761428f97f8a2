"""The nights that ``boatinfer results`` lists."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import colours
from boatinfer.results.folder import Results
from boatinfer.results.nights import nights
from boatinfer.results.summary import Summary
from boatinfer.text import local_time
from support import Command

Night = Callable[..., Summary]


def test_all_nights_are_listed_latest_first(
    boatinfer: Command, night: Night, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = night()
    (pictures / "more.jpg").write_bytes(colours.picture("red", seed=5))
    (pictures / "broken.jpg").write_bytes(b"no image")
    second = night(max_failures="0")
    document = json.loads(boatinfer("results", out, "--json").out)
    assert (document["folder"], document["complete"]) == (str(pictures), second.run)
    said = [(one["run"], one["found"], one["new"], one["exit_code"]) for one in document["nights"]]
    assert said == [(second.run, 14, 2, 3), (first.run, 12, 12, 0)]
    lines = boatinfer("results", out).out.splitlines()
    table = [line.split() for line in lines[lines.index("nights, the latest first") + 1 :]]
    assert table[0] == ["started", "found", "classified", "reused", "failed", "new", "time"]
    assert table[1][2:10] == ["exit", "code", "3", "14", "1", "12", "1", "2"]
    assert table[2][2:7] == ["12", "12", "0", "0", "12"]
    assert len(table) == 3


def test_a_killed_and_a_damaged_night(night: Night, tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs = [night().run for _ in range(3)]
    file = out / "runs" / f"{runs[2]}.json"
    killed = json.loads(file.read_text()) | {"finished": None, "complete": False, "digest": ""}
    file.write_text(json.dumps(killed))
    (out / "runs" / f"{runs[0]}.json").write_text("{")
    found = nights(Results(out))
    assert [(one.run, one.state) for one in found] == [(runs[2], "killed"), (runs[1], "complete")]
    assert [one.run for one in nights(Results(out), 1)] == [runs[2]]


@pytest.mark.skipif(sys.platform == "win32", reason="has no tzset")
def test_times_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Rome")
    time.tzset()
    try:
        assert local_time("2026-07-01T23:30:00+00:00") == "2026-07-02 01:30"
    finally:
        monkeypatch.undo()
        time.tzset()
