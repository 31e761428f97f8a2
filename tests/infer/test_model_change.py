"""A run with another model says what that has changed."""

from __future__ import annotations

import json
from pathlib import Path

import colours
from boatinfer.models.model import open_model
from support import Command, rows


def test_another_model_is_announced_with_what_it_changes(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other.onnx"
    card = open_model(model_file).card
    swapped = [card.classes[1], card.classes[0], *card.classes[2:]]  # red is called green
    colours.write_model(other, colours.card(name="other", classes=swapped))
    first = boatinfer("run", pictures, "-o", out, "-m", model_file)
    assert "another model" not in first.out
    before = {row["path"]: row["label"] for row in rows(out)}
    second = boatinfer("run", pictures, "-o", out, "-m", other)
    now = {row["path"]: row["label"] for row in rows(out)}
    changed = sum(before[path] != label for path, label in now.items())
    assert 0 < changed < len(now)
    change = json.loads((out / "run.json").read_text())["model_change"]
    assert (change["model_name"], change["images"], change["changed"]) == (
        *(card.name, len(now), changed),
    )
    assert sum(one["images"] for one in change["labels"]) == changed
    assert {(one["before"], one["now"]) for one in change["labels"]} == {
        (before[path], label) for path, label in now.items() if before[path] != label
    }
    assert f"another model: other, before {card.name}; {changed} of {len(now)} images" in second.out
    assert f"{changed} images have another label than before" in (out / "report.html").read_text()
    third = boatinfer("run", pictures, "-o", out, "-m", other)
    assert "another model" not in third.out
    assert json.loads((out / "run.json").read_text())["model_change"] is None


def test_a_table_that_is_gone_or_damaged_ends_no_run_with_another_model(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other.onnx"
    colours.write_model(other, colours.card(name="other"))
    for spoil in (Path.unlink, lambda file: file.write_bytes(b'path\n"')):
        assert boatinfer("run", pictures, "-o", out, "-m", model_file).code == 0
        spoil(out / "predictions.csv")
        assert boatinfer("run", pictures, "-o", out, "-m", other).code == 0
        assert json.loads((out / "run.json").read_text())["model_change"] is None
