"""``boatinfer doctor``: every fault provoked, and a report without names and paths."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from boatinfer.doctor import speed
from boatinfer.doctor.examine import examine
from boatinfer.doctor.findings import Finding, Level
from boatinfer.errors import DOCTOR_FAULT, DOCTOR_WARNING, UsageError
from boatinfer.night.config import read_night
from boatinfer.storage.locks import hold_lock
from nightly import write
from support import Command

FILE = """
[[folder]]
name = "harbour"
dir = "pictures"
model = "colours.onnx"
out = "out"
"""
AHEAD = timedelta(days=3)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures for a moment, on a machine whose clock is set by a server."""
    monkeypatch.setattr(speed, "_SECONDS", 0.01)
    monkeypatch.setattr("boatinfer.doctor.machine._synchronised", lambda: True)


@pytest.fixture
def file(tmp_path: Path, pictures: Path, model_file: Path) -> Path:
    return write(tmp_path, FILE)


def found(file: Path, check: str, now: datetime | None = None) -> Finding:
    (finding,) = [one for one in examine(file, now).findings if one.check == check]
    return finding


def test_all_is_well_on_one_screen(
    file: Path, boatinfer: Command, night: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=10**12))
    ended = boatinfer("doctor", file)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert len(lines) <= 24
    assert all(line.startswith("ok ") for line in lines)
    model = next(line for line in lines if "model of harbour" in line)
    assert "self-test passed on cpu" in model
    assert "12 images of the folder" in model
    report = json.loads(boatinfer("doctor", file, "--json").out)
    (figures,) = [one["figures"] for one in report["findings"] if one["check"] == "model of"]
    assert set(figures) == {"decoded", "inferred", "together"}
    assert all(rate > 0 for rate in figures.values())
    assert report["exit_code"] == 0


def test_few_bytes_of_images_are_held(
    file: Path, night: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    sizes = [one.stat().st_size for one in (file.parent / "pictures").rglob("*.*")]
    monkeypatch.setattr(speed, "_HELD", 3 * max(sizes))
    (folder,) = read_night(file).folders
    held = sum(map(len, speed._known_images(folder.options)))
    assert 0 < held <= 3 * max(sizes) < sum(sizes)


def test_without_a_file_it_looks_at_the_machine_and_the_built_in_model(boatinfer: Command) -> None:
    ended = boatinfer("doctor", "--json")
    checks = [one["check"] for one in json.loads(ended.out)["findings"]]
    expected = ["versions", "machine", "open files", "temporary files", "clock", "model of"]
    assert checks == expected


def test_a_broken_seal_is_a_fault(file: Path, model_file: Path, boatinfer: Command) -> None:
    content = bytearray(model_file.read_bytes())
    content[100] ^= 1
    model_file.write_bytes(content)
    finding = found(file, "model of")
    assert finding.level is Level.FAULT
    assert "damaged" in str(finding.detail)
    assert boatinfer("doctor", file).code == DOCTOR_FAULT
    assert "harbour" in boatinfer("doctor", "-c", file).out


def test_a_model_or_folder_that_is_missing_is_a_fault(file: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "pictures")
    (tmp_path / "colours.onnx").unlink()
    assert found(file, "model of").level is Level.FAULT
    rights = found(file, "rights of")
    assert (rights.level, "exit code 2" in rights.text) == (Level.FAULT, True)
    assert "line 4: dir " in str(rights.detail)


def test_a_file_with_a_mistake_is_a_fault(tmp_path: Path) -> None:
    finding = found(write(tmp_path, "modle = 1"), "night.toml")
    assert finding.level is Level.FAULT
    assert "line 1" in str(finding.detail)


def test_results_that_may_not_be_written_are_a_fault(
    file: Path, night: Callable[..., Any], tmp_path: Path
) -> None:
    night()
    said = of_a_user(["doctor", str(file), "--json"], tmp_path)
    levels = {one["check"]: one["level"] for one in said["findings"]}
    assert levels["rights of"] == "fault"
    assert levels["page of all folders"] == "fault"
    assert levels["model of"] == "ok"


def of_a_user(arguments: list[str], folder: Path) -> Any:
    """What the command says where the folder may be read only, also to root."""
    folders = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "boatinfer", *arguments],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=obey_modes,
        )
    finally:
        for path in folders:
            path.chmod(0o755)
    assert ended.returncode == DOCTOR_FAULT, ended.stderr
    return json.loads(ended.stdout)


def obey_modes() -> None:
    """Takes from root, for the program that is started next, the right to pass over modes."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_few_open_files_are_a_warning_and_too_few_a_fault() -> None:
    for limit, level in ((40, "fault"), (128, "warning"), (1024, "ok")):
        said = "import resource as r; hard = r.getrlimit(r.RLIMIT_NOFILE)[1]\n"
        said += f"r.setrlimit(r.RLIMIT_NOFILE, ({limit}, hard))\n"
        said += "from boatinfer.doctor.machine import _descriptors; print(_descriptors().level)"
        command = [sys.executable, "-c", said]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ended.stdout.strip() == level


class Usage(NamedTuple):
    """What `shutil.disk_usage` says."""

    total: int = 10**13
    used: int = 0
    free: int = 0


@pytest.mark.parametrize(
    ("sizes", "level"),
    [
        ((10**12, 10**6), Level.OK),
        ((10**9, 10**6), Level.WARNING),
        ((10**8, 10**6), Level.FAULT),
        ((30 * 10**9, 10**10), Level.WARNING),  # a gigabyte a day: 30 days are left
        ((2 * 10**9, 10**10), Level.FAULT),
    ],
)
def test_the_disk_is_compared_with_the_growth_of_the_results(
    file: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int], level: Level
) -> None:
    (free, size), out = sizes, file.parent / "out"
    runs = out / "runs"
    runs.mkdir(parents=True)
    now = datetime.now(UTC)
    (runs / f"{now - timedelta(10):%Y%m%dT%H%M%S.%fZ}.json").write_text("{}")
    with (out / "large").open("wb") as sparse:
        sparse.truncate(size)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=free))
    finding = found(file, "disk of", now)
    assert finding.level is level
    assert finding.figures["days_left"] == pytest.approx(10 * free / size, rel=0.01)


def test_a_folder_for_temporary_files_that_is_full_is_a_fault(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=1000))
    assert found(file, "temporary files").level is Level.FAULT
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    finding = found(file, "temporary files")
    assert (finding.level, finding.text) == (Level.FAULT, "cannot be written")


def test_a_clock_before_the_newest_run_is_a_fault(file: Path, night: Callable[..., Any]) -> None:
    run = datetime.fromisoformat(night().started)
    assert found(file, "clock", run + AHEAD).level is Level.OK
    behind = found(file, "clock", run - AHEAD)
    assert behind.level is Level.FAULT
    assert behind.figures["behind_seconds"] == pytest.approx(AHEAD.total_seconds())


def test_a_clock_that_no_server_sets_is_a_warning(
    file: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boatinfer.doctor.machine._synchronised", lambda: False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=10**12))
    assert found(file, "clock").level is Level.WARNING
    assert boatinfer("doctor", file).code == DOCTOR_WARNING


def test_who_holds_the_results_is_said(file: Path, night: Callable[..., Any]) -> None:
    out = Path(night().folder).parent / "out"
    assert found(file, "lock of").text == "free"
    with hold_lock(out / ".lock", "out"):
        finding = found(file, "lock of")
        assert finding.level is Level.OK
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(finding.detail)
        later = found(file, "lock of", datetime.now(UTC) + AHEAD)
        assert later.level is Level.WARNING
    (out / ".holder").write_text("process 1 on elsewhere since 2020-01-01T00:00:00+00:00")
    assert found(file, "lock of").text == "free"  # its holder was killed


def test_an_address_whose_secret_is_missing_is_a_fault(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(FILE + '[notify]\nping = "https://example.org/${PING_ID}"\n')
    assert found(file, "notify").level is Level.FAULT
    monkeypatch.setenv("PING_ID", "hidden-secret")
    finding = found(file, "notify")
    assert finding.level is Level.OK
    assert "hidden-secret" not in str(finding)


def test_metrics_that_cannot_be_written_are_a_fault(file: Path) -> None:
    file.write_text(FILE + '[metrics]\nfile = "missing/boatinfer.prom"\n')
    assert found(file, "metrics").level is Level.FAULT


BUCKETS = """
[[folder]]
name = "first"
dir = "pictures"
model = "colours.onnx"
out = "s3://first/out"
endpoint = "http://first.example"
[[folder]]
name = "second"
dir = "pictures"
model = "colours.onnx"
out = "s3://second/out"
endpoint = "http://second.example"
"""


def test_a_bucket_is_asked_at_its_endpoint_and_one_that_is_away_costs_no_other_finding(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def connection(_: str, bucket: str) -> Any:
        asked.append((bucket, os.environ.get("AWS_ENDPOINT_URL_S3")))
        raise UsageError("it cannot be reached")

    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.setattr("boatinfer.storage.bucket.connection", connection)
    file.write_text(BUCKETS + f"[[folder]]\n{FILE.partition(']]')[2]}")
    runs = tmp_path / "out" / "runs"
    runs.mkdir(parents=True)
    now = datetime.now(UTC)
    (runs / f"{now:%Y%m%dT%H%M%S.%fZ}.json").write_text("{}")
    findings = examine(file, now - AHEAD).findings
    (clock,) = [one for one in findings if one.check == "clock"]
    assert (clock.level, "before the newest run" in clock.text) == (Level.FAULT, True)
    away = [one.subject for one in findings if one.check == "examination"]
    assert set(away) == {"first", "second"}
    assert set(asked) == {(name, f"http://{name}.example") for name in ("first", "second")}
    assert "AWS_ENDPOINT_URL_S3" not in os.environ


HOSTILE = """
[[folder]]
name = "Rossi & Söhne"
dir = "secret photos of Rossi"
model = "colours of Rossi.onnx"
out = "out of Rossi"
[[folder]]
name = "second of Rossi"
dir = "missing of Rossi"
[notify]
webhooks = ["https://user-rossi:hunter2@hooks.rossi.example/${TOKEN}"]
[metrics]
file = "metrics of Rossi/x.prom"
"""


@pytest.fixture
def hostile(
    tmp_path: Path, pictures: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A file of nights full of names."""
    home = tmp_path / "home of rossi"
    home.mkdir()
    pictures.rename(home / "secret photos of Rossi")
    model_file.rename(home / "colours of Rossi.onnx")
    monkeypatch.setenv("TOKEN", "hunter3")
    for name in ("parts", "runs"):
        (home / "out of Rossi" / name).mkdir(parents=True)
    return write(home, HOSTILE)


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("broken", [False, True])
def test_an_anonymous_report_has_no_names_paths_or_secrets(
    hostile: Path, boatinfer: Command, broken: bool, options: tuple[str, ...]
) -> None:
    if broken:
        model = hostile.with_name("colours of Rossi.onnx")
        model.write_bytes(model.read_bytes()[:-9] + b"x" * 9)
    with hold_lock(hostile.parent / "out of Rossi" / ".lock", "out"):
        named = boatinfer("doctor", hostile, *options)
        ended = boatinfer("doctor", hostile, "--anonymous", *options)
    words = ("rossi", "hunter", "home", "söhne", socket.gethostname(), str(hostile.parent), ".onnx")
    assert [word for word in words if word.lower() in ended.out.lower()] == []
    assert "rossi" in named.out.lower()
    assert (ended.code, ended.err) == (DOCTOR_FAULT, "")
    assert ended.out.count("model of") == 2
