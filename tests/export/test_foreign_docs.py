"""The commands of docs/foreign-models.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import colours
import networks
from boatexport.options import DescribeOptions
from support import Command, rows

DOCUMENT = (Path(__file__).parents[2] / "docs" / "foreign-models.md").read_text()


def test_its_commands_work(
    tmp_path: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    networks.save(networks.torch_layout(), tmp_path / "resnet50.onnx")
    (tmp_path / "imagenet.txt").write_text("\n".join(networks.CLASSES))
    colours.write_pictures(tmp_path / "photos", each=2)
    (block,) = re.findall(r"^```console\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        done = boatinfer(*shlex.split(line)[1:])
        assert done.code == 0, done.err
    assert len(rows(tmp_path / "boatinfer-out" / "photos")) == 6


def test_it_names_every_option() -> None:
    options = set(DescribeOptions.__dataclass_fields__) - {"model", "output", "force"}
    assert options <= {
        name.replace("-", "_").removeprefix("no_") for name in re.findall(r"--([\w-]+)", DOCUMENT)
    }
