"""The command line, a trained model and the real boats, for all tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from boatinfer import cli
from boatinfer.isolation import process
from boatinfer.signals import SIGNALS
from support import Command, Outcome, Shell, Trained, write_data

#: Tests for an environment of their own, see tox.ini.
collect_ignore = ["bare"]

# On a busy machine a test may take long, and so may what draws its examples.
settings.register_profile("boatinfer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("boatinfer")


@pytest.fixture(scope="session", autouse=True)
def default_signals() -> None:
    """Lets signals act that whoever started the tests ignores: SIGINT `&`, SIGHUP `nohup`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty one for each test, whatever lies where the tests were started."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def no_spare_worker() -> Iterator[None]:
    """Ends a worker process that waits for more: it may have what a test has changed."""
    yield
    while process._spare:
        process._spare.pop().close()


@pytest.fixture
def boatinfer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line in this process, through its real entry point."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["boatinfer", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Outcome(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def unsafe_shell(tmp_path: Path) -> Shell:
    """Calls the command line where every process has a reader that does what killers say."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import killers\n\nkillers.install()\n")
    paths = [str(site), *(path for path in sys.path if path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "boatinfer", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
        )

    return call


@pytest.fixture(scope="session")
def mardct() -> Path:
    """The folder of real boats; its tests are skipped where there is none."""
    folder = os.environ.get("MARDCT")
    if not folder:
        pytest.skip("MARDCT does not name the folder of real boats (with train/ and valid/)")
    return Path(folder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trains in a process of its own, on data with a broken image and files to be skipped."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_data(folder / "data")
    whole = (data / "train/red/00.jpg").read_bytes()
    (data / "train/red/broken.jpg").write_bytes(whole[: len(whole) // 2])
    (data / "train/red/notes.txt").write_text("no image")
    (data / "train/red/.hidden.jpg").write_text("no image")
    (data / "train/.hidden").mkdir()
    (data / "valid/green/00.jpg").rename(data / "valid/green/00.JPG")
    output = folder / "small.keras"
    command = [sys.executable, "-m", "boatinfer", "train", "cnn", str(data), "-o", str(output)]
    options = ["--epochs", "3", "--batch-size", "4", "--size", "12x40"]
    run = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, cwd=folder
    )
    assert run.returncode == 0, run.stderr
    return Trained(data, output, run.stdout, run.stderr)
