"""Whatever becomes of what a command prints, the command does its work and ends as it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import colours
from boatinfer.results.summary import Summary, read_summary

BOATINFER = (sys.executable, "-m", "boatinfer")
FULL = Path("/dev/full")


@pytest.fixture
def run(pictures: Path, model_file: Path, tmp_path: Path) -> tuple[str, ...]:
    """A night whose exit code is 3."""
    (pictures / "bad.jpg").write_bytes(colours.picture("red")[:400])
    return (*BOATINFER, "run", str(pictures), "-o", str(tmp_path / "out"), "-m", str(model_file))


def summary(out: Path) -> Summary:
    found = read_summary(out / "run.json")
    assert found is not None
    return found


@pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")
def test_what_cannot_be_printed_is_one_sentence(run: tuple[str, ...], tmp_path: Path) -> None:
    for command in (run, (*BOATINFER, "results", str(tmp_path / "out")), (*BOATINFER, "--help")):
        with FULL.open("w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 7
        assert done.stderr.decode() == (
            "boatinfer: the standard output could not be written: No space left on device.\n"
        )
    assert summary(tmp_path / "out").exit_code == 3  # the night itself was not harmed


@pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")
def test_a_full_standard_error_does_not_matter(run: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        assert subprocess.run(run, stdout=subprocess.PIPE, stderr=full, check=False).returncode == 3


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_when_nobody_reads_on_the_command_ends_as_it_would(
    run: tuple[str, ...], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run([*run, *arguments], stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 3
    assert done.stderr.decode().startswith("boatinfer: 1 of 13 new images failed")
    assert done.stderr.count(b"\n") == 1
    assert summary(tmp_path / "out").complete


def test_a_name_that_the_output_has_no_characters_for_is_printed_all_the_same(
    pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    command = [*BOATINFER, "run", str(pictures), "-o", str(tmp_path / "舟"), "-m", str(model_file)]
    narrow = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, env=narrow, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"/\u821f/predictions.csv" in done.stdout
    odd = os.fsencode(tmp_path) + b"/\xff.jpg"
    (pictures / "red/000.jpg").rename(os.fsdecode(odd))
    classify = [os.fsencode(BOATINFER[0]), b"-m", b"boatinfer", b"classify", odd, b"-m"]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(
        [*classify, os.fsencode(model_file)], env=strict, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"/\xff.jpg" in done.stdout
