"""What the system around a run may be like: times, locales, no place for temporary files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import colours
from boatinfer.errors import OutputError
from boatinfer.quiet import native_stderr_hidden
from boatinfer.results.summary import Summary
from boatinfer.storage import files
from support import command, rows

#: Seconds since 1970 of 1601, 1677, a moment before 1970, 2262 and 2400.
TIMES = [-11_644_473_600, -9_223_372_037, -1, 9_223_372_037, 13_569_465_600]


def test_files_of_any_time_are_classified_and_reused(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    every = sorted(pictures.glob("*/*.jpg"))
    for file, time in zip(every, TIMES, strict=False):
        os.utime(file, (time, time))  # a disk may clip it
    assert night().classified == 12
    assert (night().reused, len(rows(tmp_path / "out"))) == (12, 12)


@pytest.fixture(scope="module")
def latin1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose locale has the encoding Latin-1."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef"):
        made = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / "en_US.ISO-8859-1")]
        if not subprocess.run(made, capture_output=True, check=False).returncode:
            return {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1"}
    pytest.skip("localedef cannot make a locale")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
@pytest.mark.parametrize("locale", ["ascii", "latin1"])
def test_no_locale_changes_a_name(
    tmp_path: Path, model_file: Path, request: pytest.FixtureRequest, locale: str
) -> None:
    environment = ASCII if locale == "ascii" else request.getfixturevalue("latin1")
    folder, out = tmp_path / "Bilder Ü", tmp_path / "Übersicht"
    folder.mkdir()
    for name in ["Água.jpg".encode(), b"\xc1gua.jpg", "船.jpg".encode()]:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(colours.picture("red", 1))
    listed = tmp_path / "list.txt"
    listed.write_bytes("Água.jpg\n".encode() + b"\xc1gua.jpg\n" + "船.jpg\n".encode())
    for options in [["--from-file", str(listed)], []]:
        done = subprocess.run(
            command(folder, out, model_file, *options),
            env=os.environ | environment,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert {row["path"] for row in rows(out)} == {"Água.jpg", "\\xc1gua.jpg", "船.jpg"}
    done = subprocess.run(
        command(tmp_path / "Ü", tmp_path / "new", model_file),
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"the folder {tmp_path / 'Ü'} does not exist" in done.stderr.decode()


@pytest.fixture
def no_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where no folder for temporary files can be written to."""
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "/no/such/folder")


@pytest.mark.usefixtures("no_temporary_folder")
def test_a_run_needs_no_place_for_temporary_files(night: Callable[..., Summary]) -> None:
    assert night(isolate=True).classified == 12


@pytest.mark.usefixtures("no_temporary_folder")
def test_what_needs_a_place_for_temporary_files_says_so() -> None:
    with pytest.raises(OutputError, match="set TMPDIR"):
        files.temporary_folder()


@pytest.mark.usefixtures("no_temporary_folder")
@pytest.mark.parametrize("memfd", [True, False])
def test_chatter_is_hidden_where_there_is_no_place_for_it(
    monkeypatch: pytest.MonkeyPatch, memfd: bool
) -> None:
    if not memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    seen, kept = os.pipe(), os.dup(2)
    os.dup2(seen[1], 2)
    try:
        with native_stderr_hidden():
            os.write(2, b"hidden")
        os.write(2, b"shown")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert os.read(seen[0], 100) == b"shown"
    for end in seen:
        os.close(end)


@pytest.mark.skipif(sys.platform != "linux", reason="HOME is where Linux programs keep files")
def test_onnxruntime_does_not_report_to_its_makers(tmp_path: Path, pictures: Path) -> None:
    """Where it does, it keeps the device's id and what it is about to send in the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_", "CI", "TF_"))}
    image = str(min(pictures.glob("red/*.jpg")))
    line = [sys.executable, "-m", "boatinfer", "classify", image]
    subprocess.run(line, check=True, capture_output=True, env=kept | {"HOME": str(home)})
    assert list(home.rglob("*")) == []
