"""A month of nights by a clock of its own: each event reaches mail, ping and metrics once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_fd_to_metric_families

import colours
from boatinfer.night.command import PYTHON, run_command
from boatinfer.night.config import Night, read_night
from boatinfer.night.record import NightResult, read_record
from boatinfer.night.running import run_night
from boatinfer.night.status import night_status
from boatinfer.pipeline.options import RunOptions
from listeners import SECRET, Mail, Web, mail_server, web_server
from nightly import write
from support import rows

#: New images of each class in an ordinary night.
USUAL = {"red": 12, "green": 8, "blue": 4}
#: The night of each event, by its number in the month.
CRASH, FULL_DISK, STRANGE, KILLED, NOT_STARTED, CORRUPT = 5, 9, 14, 18, 22, 26

CONFIG = """
model = "colours.onnx"
[[folder]]
name = "harbour"
dir = "harbour"
[[folder]]
name = "gate"
dir = "gate"
[[folder]]
name = "inbox"
dir = "inbox"
allow-empty = true
[schedule]
at = "02:00"
parallel = 3
[notify]
apprise = ["{mail}"]
webhooks = ["${{SITE}}/hook"]
ping = "${{SITE}}/ping"
when = "unusual"
[metrics]
file = "metrics/night.prom"
"""

#: The process of a folder that is killed; of one whose disk is full.
DIES = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
FULL = """
import errno, os, runpy, sys
def replace(source, target, **_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
os.replace = replace
runpy.run_module("boatinfer", run_name="__main__")
"""
#: A night whose folders never end.
HANGS = """
import os, pathlib, sys
from datetime import datetime
from boatinfer.night import process
from boatinfer.night.config import read_night
from boatinfer.night.running import run_night
waits = f"import os, time\\nwhile os.getppid() == {os.getpid()}: time.sleep(0.05)"
process.run_command = lambda _: [sys.executable, "-c", waits]
run_night(read_night(pathlib.Path(sys.argv[1])), clock=lambda: datetime.fromisoformat(sys.argv[2]))
"""


@dataclass
class Month:
    """The folders, the night's file, and who listens."""

    folder: Path
    file: Path
    web: Web
    mail: Mail
    made: int = 0
    commands: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(5)

    @property
    def night(self) -> Night:
        return read_night(self.file)

    def add(self, name: str, mix: dict[str, int], corrupt: bool = False) -> None:
        for colour, count in mix.items():
            for _ in range(count + int(self._random.integers(-2, 3))):
                self.made += 1
                data = colours.picture(colour, self.made)
                file = self.folder / name / f"{self.made:05}.jpg"
                file.write_bytes(data[:200] if corrupt else data)

    def command(self, options: RunOptions) -> list[str]:
        """What runs a folder; of some nights it is replaced."""
        return self.commands.get(options.results_folder.name, run_command(options))

    def run(self, at: datetime) -> NightResult:
        return run_night(self.night, clock=lambda: at)

    def is_killed(self, at: datetime) -> None:
        """A night that is killed while its folders run."""
        line = [sys.executable, "-c", HANGS, str(self.file), at.isoformat()]
        nights = len(read_record(self.night).nights)
        with subprocess.Popen(line) as process:
            while (
                len(read_record(self.night).nights) == nights
                or "/ping/start" not in (self.web.events[-1:])
            ):
                time.sleep(0.02)
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)

    def metrics(self, name: str) -> dict[str, float]:
        with (self.folder / "metrics" / "night.prom").open() as file:
            return {
                sample.name.removeprefix("boatinfer_"): sample.value
                for family in text_fd_to_metric_families(file)
                for sample in family.samples
                if sample.labels.get("folder") == name
            }

    def heard(self) -> tuple[list[str], list[str]]:
        """The paths that were called since the last call, and the subjects of mails."""
        events, subjects = self.web.events, [str(mail["Subject"]) for mail in self.mail.mails]
        self.web.requests.clear()
        self.mail.mails.clear()
        return events, subjects


@pytest.fixture
def month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Month]:
    for name in ("harbour", "gate", "inbox", "metrics"):
        (tmp_path / name).mkdir()
    colours.write_model(tmp_path / "colours.onnx")
    with web_server() as web, mail_server() as mail:
        monkeypatch.setenv("SITE", web.url)
        address = f"mailto://127.0.0.1:{mail.port}?from=night@example.org&to=you@example.org"
        made = Month(tmp_path, write(tmp_path, CONFIG.format(mail=address)), web, mail)
        monkeypatch.setattr("boatinfer.night.process.run_command", made.command)
        yield made


def test_every_event_of_a_month_is_told_once(month: Month) -> None:
    first = datetime.now().astimezone().replace(hour=2, minute=0, second=0, microsecond=0)
    told: dict[int, tuple[list[str], list[str]]] = {}
    codes: dict[int, int | None] = {}
    for number in range(1, 31):
        at = first + timedelta(days=number)
        month.add("harbour", {"blue": 24} if number == STRANGE else USUAL, number == CORRUPT)
        month.add("gate", USUAL)
        month.commands = {}
        if number == CRASH:
            month.commands["gate"] = [sys.executable, "-c", DIES]
        if number == FULL_DISK:
            arguments = run_command(month.night.folders[0].options)[len(PYTHON) :]
            month.commands["harbour"] = [sys.executable, "-c", FULL, *arguments]
        if number == NOT_STARTED:
            assert night_status(month.night, at + timedelta(hours=3)).exit_code == 10
            continue
        if number == KILLED:
            month.is_killed(at)
            assert month.metrics("gate")["last_exit_code"] == -1
            assert night_status(month.night, at + timedelta(hours=1)).killed
        else:
            result = month.run(at)
            codes[number] = result.exit_code
            assert month.metrics("inbox")["last_exit_code"] == 0
            harbour = next(one for one in result.folders if one.name == "harbour")
            assert month.metrics("harbour")["last_exit_code"] == harbour.exit_code
            assert month.metrics("harbour").get("unusual_findings", 0) == len(harbour.unusual)
        told[number] = month.heard()
    assert {number: code for number, code in codes.items() if code} == {
        **{CRASH: 1, FULL_DISK: 7, CORRUPT: 3}
    }
    told_of = {
        CRASH: "gate",
        FULL_DISK: "harbour",
        STRANGE: "harbour",
        CORRUPT: "harbour",
    }
    for number, (events, subjects) in told.items():
        calls = Counter(events)
        assert calls.pop("/ping/start") == 1
        if number == KILLED:  # a check that is told of a start and no end raises the alarm itself
            assert (calls, subjects) == (Counter(), [])
            continue
        assert calls.pop("/ping/fail" if codes[number] else "/ping") == 1, number
        expected = [told_of[number]] if number in told_of else []
        if number in {KILLED + 1, NOT_STARTED + 1}:
            expected = ["earlier"]
        assert len(subjects) == calls.pop("/hook", 0) == len(expected), (number, subjects)
        assert not calls
        for subject, words in zip(subjects, expected, strict=True):
            assert words == "earlier" or words in subject, (number, subject)
    for name in ("harbour", "gate"):
        assert len(rows(month.folder / "boatinfer-out" / name)) == len(
            list((month.folder / name).iterdir())
        )
    for file in month.folder.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    assert os.environ["SITE"].endswith(SECRET)
