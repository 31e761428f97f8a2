"""A model file and a folder of pictures that tests share, and a way to call the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import colours
import pytest

from boatinfer import cli


class Outcome(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """The colour classifier as an ONNX file."""
    return colours.write_model(tmp_path / "colours.onnx")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with four pictures of each colour, in a sub-folder each."""
    folder = tmp_path / "pictures"
    colours.write_pictures(folder, each=4)
    return folder


@pytest.fixture
def boatinfer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line in this process, through its real entry point."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["boatinfer", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), printed.out, printed.err)

    return call
