"""``boatinfer night install``: units that systemd accepts, and what other systems want."""

from __future__ import annotations

import json
import os
import plistlib
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from boatinfer.doctor.examine import examine
from boatinfer.doctor.findings import Level
from boatinfer.night import systemd
from boatinfer.night.config import Night
from boatinfer.night.install import files
from boatinfer.night.installed import is_installed
from boatinfer.night.schedulers import NAME, Scheduler
from nightly import parsed, write
from support import Command, rows

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")

#: What stands in a user's folder may be odd.
ODD = 'a night\'s "100%" $HOME \\ folder'

TEXT = """
model = "colours.onnx"
device = "cpu"
image-timeout = 40
[[folder]]
name = "pictures"
dir = "pictures"
[schedule]
at = "03:05"
days = ["mon", "sun"]
nice = 7
memory = "6G"
cpus = 3
"""


@pytest.fixture
def night(tmp_path: Path, pictures: Path, model_file: Path) -> Night:
    """A night in a folder with an odd name."""
    folder = tmp_path / ODD
    folder.mkdir()
    pictures.rename(folder / "pictures")
    model_file.rename(folder / model_file.name)
    return parsed(folder, TEXT)


def units(night: Night, folder: Path, system: bool) -> dict[str, Path]:
    """Writes the units into a folder; each by the end of its name."""
    written = {}
    for file, text in files(night, Scheduler.SYSTEMD, NAME, system).items():
        unit = folder / file.name
        unit.write_text(text)
        written[file.name.removeprefix(NAME)] = unit
    return written


def settings(unit: Path) -> dict[str, str]:
    """The settings of a unit; of those that are repeated the last."""
    lines = (line for line in unit.read_text().splitlines() if not line.startswith(("#", "[")))
    return dict(line.split("=", 1) for line in lines if line)


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    command = [ANALYZE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_systemd_accepts_the_units(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: bool, plain: bool
) -> None:
    if plain:
        text = TEXT.partition("days")[0].replace('"pictures"\n[', '"s3://bucket/in"\n[')
        night = parsed(tmp_path, text)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "units"
    folder.mkdir()
    written = units(night, folder, system).values()
    done = analyze("verify", *([] if system else ["--user"]), *written)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_the_service_of_the_machine_may_do_little(night: Night, tmp_path: Path) -> None:
    for end, unit in units(night, tmp_path, system=True).items():
        if end.endswith(".service"):
            done = analyze("security", "--offline=true", "--threshold=15", unit)
            assert done.returncode == 0, done.stdout
            assert re.search(r"exposure level for \S+: 1\.\d OK", done.stdout)


def test_the_units_say_what_the_schedule_says(night: Night, tmp_path: Path) -> None:
    written = units(night, tmp_path, system=True)
    timer, service = settings(written[".timer"]), settings(written[".service"])
    assert timer["OnCalendar"] == "Mon,Sun *-*-* 03:05:00"
    assert timer["Persistent"] == "true"
    assert service["OnFailure"] == f"{NAME}-failed.service"
    assert (service["Nice"], service["MemoryMax"], service["CPUQuota"]) == ("7", "6G", "300%")
    assert int(service["TimeoutStopSec"]) > 2 * 40  # two images of 40 seconds
    assert service["User"] == pwd.getpwuid(night.file.stat().st_uid).pw_name
    assert "PrivateNetwork" in service
    assert "User" not in settings(units(night, tmp_path, system=False)[".service"])


def test_a_bucket_needs_the_network(tmp_path: Path) -> None:
    text = TEXT.replace('dir = "pictures"', 'dir = "s3://bucket/in"')
    service = settings(units(parsed(tmp_path, text), tmp_path, system=True)[".service"])
    assert "PrivateNetwork" not in service
    assert "AF_INET" in service["RestrictAddressFamilies"]
    assert service["After"] == "network-online.target"


def test_whoever_is_told_needs_the_network_and_metrics_their_folder(tmp_path: Path) -> None:
    alone = settings(units(parsed(tmp_path, TEXT), tmp_path, system=True)[".service"])
    tables = '[notify]\nping = "${PING_ID}"\ntimeout = 20\n[metrics]\nfile = "m/x.prom"\n'
    unit = units(parsed(tmp_path, f"{TEXT}\n{tables}"), tmp_path, system=True)[".service"]
    service = settings(unit)
    assert "PrivateNetwork" not in service
    assert "AF_INET" in service["RestrictAddressFamilies"]
    assert f"ReadWritePaths={tmp_path / 'm'}\n" in unit.read_text()
    assert int(service["TimeoutStopSec"]) >= int(alone["TimeoutStopSec"]) + 3 * 20
    assert "PING_ID" not in unit.read_text()


def test_a_gpu_needs_the_devices(tmp_path: Path) -> None:
    text = TEXT.replace('"cpu"', '"cuda"')
    for device, private in ((TEXT, True), (text, False)):
        night = parsed(tmp_path, device)
        service = settings(units(night, tmp_path, system=True)[".service"])
        assert ("PrivateDevices" in service) == private


def test_another_unit_may_be_started_at_a_failure(tmp_path: Path) -> None:
    night = parsed(tmp_path, f'{TEXT}on-failure = "mail@%n.service"\n'.replace("%n", "x"))
    written = units(night, tmp_path, system=True)
    assert set(written) == {".service", ".timer"}
    assert settings(written[".service"])["OnFailure"] == "mail@x.service"


def as_systemd_splits(command: str) -> list[str]:
    """The words of ``ExecStart``, as systemd.service(5) and systemd.syntax(7) say."""
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(command)]


def test_the_command_of_the_unit_runs_in_the_environment_that_systemd_gives(
    night: Night, tmp_path: Path
) -> None:
    service = settings(units(night, tmp_path, system=True)[".service"])
    name, _, setting = service["Environment"].partition("=")
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "USER": "root",
        "LOGNAME": "root",
        "HOME": "/root",
        "SHELL": "/bin/sh",
        "INVOCATION_ID": "0" * 32,
        "JOURNAL_STREAM": "8:1",
        "SYSTEMD_EXEC_PID": "1",
        name: setting,
        # What an installed package needs not:
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        as_systemd_splits(service["ExecStart"]),
        env=environment,
        cwd=service["WorkingDirectory"].replace("%%", "%"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    folder = night.file.parent
    assert len(rows(folder / "boatinfer-out" / "pictures")) > 0
    assert json.loads((folder / "index.json").read_text())["nights"][0]["exit_code"] == 0


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that notes what it is asked for, and units in a folder of the test."""
    log = _command(tmp_path, monkeypatch, "systemctl", 'echo "$@" >> "$LOG"')
    monkeypatch.setattr(systemd, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return log


def _command(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Path:
    """A command of the system, which a script of the shell stands in for."""
    programs, log = folder / "bin", folder / "log"
    programs.mkdir(exist_ok=True)
    program = programs / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(log))
    return log


@pytest.mark.parametrize("system", [True, False])
def test_units_are_installed_and_removed(
    night: Night, boatinfer: Command, systemctl: Path, tmp_path: Path, system: bool
) -> None:
    arguments = ["-c", night.file, "--scheduler", "systemd", "--system" if system else "--user"]
    folder = tmp_path / "system" if system else tmp_path / "config" / "systemd" / "user"
    printed = boatinfer("night", "install", *arguments, "--print")
    assert printed.code == 0
    assert not folder.exists()
    assert boatinfer("night", "install", *arguments).code == 0
    assert boatinfer("night", "install", *arguments).code == 0  # once more changes it
    there = {file.name: file.read_text() for file in folder.iterdir()}
    assert set(there) == {f"{NAME}.service", f"{NAME}.timer", f"{NAME}-failed.service"}
    assert all(text in printed.out for text in there.values())
    assert (night.file.parent / "boatinfer-out" / "pictures").is_dir()  # as ReadWritePaths needs it
    user = "" if system else "--user "
    assert f"{user}enable --now {NAME}.timer" in systemctl.read_text().splitlines()
    assert boatinfer("night", "uninstall", *arguments).code == 0
    assert list(folder.iterdir()) == []
    assert f"{user}disable --now {NAME}.timer" in systemctl.read_text().splitlines()
    ended = boatinfer("night", "uninstall", *arguments)
    assert (ended.code, ended.out) == (2, "")


def test_the_units_of_another_night_are_left_alone(
    night: Night, boatinfer: Command, systemctl: Path, tmp_path: Path
) -> None:
    arguments = ["--scheduler", "systemd", "--user"]
    boatinfer("night", "install", "-c", night.file, *arguments)
    other = write(tmp_path, TEXT)
    for command in ("install", "uninstall"):
        ended = boatinfer("night", command, "-c", other, *arguments)
        assert ended.code == 2
        assert "--name" in ended.err
    assert boatinfer("night", "install", "-c", other, *arguments, "--name", "second").code == 0


def test_status_says_whether_anything_starts_the_night(
    night: Night, boatinfer: Command, systemctl: Path
) -> None:
    arguments, said = ["-c", night.file], "not installed: nothing starts this night"
    status = boatinfer("night", "status", *arguments)
    assert (status.code, said in status.out) == (0, True)
    (finding,) = [one for one in examine(night.file).findings if one.check == "schedule"]
    assert finding.level is Level.WARNING
    boatinfer("night", "install", *arguments, "--scheduler", "systemd", "--user")
    assert said not in boatinfer("night", "status", *arguments).out
    other = write(night.file.parent, TEXT, "night.tom")  # the beginning of its name
    assert said in boatinfer("night", "status", "-c", other).out


CRONTAB = 'if [ "$1" = -l ]; then cat "$LOG"; else cat > "$LOG"; fi'


def test_a_line_of_cron_is_installed_beside_others_and_removed(
    night: Night, boatinfer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = _command(tmp_path, monkeypatch, "crontab", CRONTAB)
    table.write_text("MAILTO=me\n0 1 * * * backup\n")
    arguments = ["-c", night.file, "--scheduler", "cron"]
    for _ in range(2):
        assert boatinfer("night", "install", *arguments).code == 0
    assert is_installed(night)
    *others, line = table.read_text().splitlines()
    assert others == ["MAILTO=me", "0 1 * * * backup"]
    assert line.startswith("5 3 * * 1,7 ")
    command = line.removeprefix("5 3 * * 1,7 ").replace("\\%", "%")  # as cron reads it
    shown = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-2:] == ["--config", str(night.file)]
    assert boatinfer("night", "uninstall", *arguments).code == 0
    assert table.read_text() == "MAILTO=me\n0 1 * * * backup\n"


def test_launchd_and_windows_get_what_they_read(night: Night) -> None:
    (plist,) = files(night, Scheduler.LAUNCHD, NAME, False).values()
    job = plistlib.loads(plist.encode())
    assert job["ProgramArguments"][-2:] == ["--config", str(night.file)]
    assert [time["Weekday"] for time in job["StartCalendarInterval"]] == [1, 7]
    assert {(time["Hour"], time["Minute"]) for time in job["StartCalendarInterval"]} == {(3, 5)}
    (task,) = files(night, Scheduler.WINDOWS, NAME, False).values()
    root = ET.fromstring(task.partition("\n")[2])
    space = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    assert root.findtext(".//t:StartBoundary", namespaces=space) == "2020-01-01T03:05:00"
    days = root.find(".//t:DaysOfWeek", space)
    assert days is not None
    assert [day.tag.partition("}")[2] for day in days] == ["Monday", "Sunday"]
    assert root.findtext(".//t:StartWhenAvailable", namespaces=space) == "true"


def test_a_night_without_a_schedule_is_not_installed(boatinfer: Command, tmp_path: Path) -> None:
    file = write(tmp_path, TEXT.partition("[schedule]")[0])
    ended = boatinfer("night", "install", "-c", file, "--print")
    assert (ended.code, ended.out) == (2, "")
    assert "add a table [schedule]" in ended.err


def test_a_system_without_the_command_is_told(
    boatinfer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = boatinfer("night", "install", "-c", write(tmp_path, TEXT), "--scheduler", "cron")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "there is no command crontab here" in ended.err
