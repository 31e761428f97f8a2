from __future__ import annotations

import csv
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from boattrain.options import CnnOptions
from boattrain.sweep.options import SweepOptions
from boattrain.sweep.sweep import stratified_subset, sweep
from boattrain.training import fit, train_cnn
from support import COUNTS, Command

SMALL = ["--epochs", "1", "--batch-size", "8"]


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    fractions=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    seed=st.integers(0, 9),
)
def test_every_class_keeps_its_part_and_a_larger_part_holds_a_smaller_one(
    labels: list[int], fractions: tuple[float, float], seed: int
) -> None:
    given_labels = np.array(labels, np.int64)
    few, many = (stratified_subset(given_labels, fraction, seed) for fraction in sorted(fractions))
    assert set(few) <= set(many)
    for fraction, rows in zip(sorted(fractions), (few, many), strict=True):
        assert np.all(np.diff(rows) > 0)
        for label in set(labels):
            wanted = max(1, round(fraction * labels.count(label)))
            assert np.sum(given_labels[rows] == label) == wanted
    assert len(stratified_subset(given_labels, 1.0, seed)) == len(labels)


@pytest.mark.usefixtures("uncompiled")
def test_every_size_and_fraction_is_trained_once(
    data: Path, tmp_path: Path, boatinfer: Command
) -> None:
    out = tmp_path / "sweep"
    command = ["train", "sweep", data, *SMALL, "-o", out]
    done = boatinfer(*command, "--sizes", "12x40,14x20", "--fractions", "1,0.25")
    assert done.code == 0, done.err
    each = COUNTS["train"]
    first = read(out)
    assert [(row["size"], float(row["fraction"]), int(row["images"])) for row in first] == [
        ("12x40", 0.25, 3 * each // 4),
        ("12x40", 1, 3 * each),
        ("14x20", 0.25, 3 * each // 4),
        ("14x20", 1, 3 * each),
    ]
    printed = [line.split() for line in done.out.splitlines()[1:5]]
    assert printed == [
        [r["size"], f"{float(r['fraction']):g}", r["images"]]
        + [f"{float(r[name]):.4f}" for name in ("accuracy", "macro_f1")]
        for r in first
    ]
    with Image.open(out / "sweep.png") as picture:
        assert picture.format == "PNG"
    assert not list(out.glob("*.checkpoint"))

    alone = train_cnn(
        CnnOptions(data, tmp_path / "x.keras", "12x40", epochs=1, batch_size=8)
    ).evaluation
    assert float(first[1]["accuracy"]) == pytest.approx(alone.accuracy)
    assert float(first[1]["macro_f1"]) == pytest.approx(alone.macro_f1)
    assert float(first[1]["accuracy_low"]) <= alone.accuracy
    assert float(first[1]["accuracy_high"]) >= alone.accuracy

    again = boatinfer(*command, "--sizes", "12x40", "--fractions", "0.25,0.5")
    assert again.code == 0, again.err
    rows = read(out)
    assert [row for row in rows if row["fraction"] != "0.5"] == first
    assert len(rows) == 5

    other = boatinfer(*command, "--epochs", "2")
    assert (other.code, "holds a sweep with epochs 1, not 2" in other.err) == (2, True)
    (data / "train/red/00.jpg").unlink()
    other = boatinfer(*command, "--sizes", "12x40", "--fractions", "1")
    assert (other.code, "holds a sweep with data" in other.err) == (2, True)
    assert read(out) == rows
    anew = boatinfer(*command, "--sizes", "12x40", "--fractions", "0.1", "--force")
    assert (anew.code, [row["fraction"] for row in read(out)]) == (0, ["0.1"])


@pytest.mark.usefixtures("uncompiled")
def test_an_interrupted_sweep_goes_on_where_it_was(
    data: Path, tmp_path: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "out", []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) in {2, 4}:
            os.kill(os.getpid(), signal.SIGINT)
        return fit(*arguments, **options)

    command = ["train", "sweep", data, *SMALL, "--sizes", "12x40", "--fractions", "0.5,1"]
    monkeypatch.setattr("boattrain.sweep.sweep.fit", interrupted)
    done = boatinfer(*command, "-o", out)
    assert done.code == 130
    assert "interrupted after 1 of 2 trainings; the same command continues" in done.err
    (first,) = read(out)
    assert boatinfer(*command, "-o", out).code == 0
    assert len(calls) == 3
    assert read(out)[0] == first
    more = boatinfer(*command, "--fractions", "0.25", "-o", out)
    assert "interrupted after 0 of 1 trainings" in more.err
    whole = sweep(
        SweepOptions(data, tmp_path / "w", epochs=1, batch_size=8, sizes="12x40", fractions="0.5,1")
    )
    assert [f"{point.accuracy}" for point in whole.points] == [r["accuracy"] for r in read(out)]


def test_what_cannot_be_swept_is_one_sentence(
    data: Path, tmp_path: Path, boatinfer: Command
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "sweep.json").write_text("{")
    calls: list[tuple[list[Any], str]] = [
        ([data, "--sizes", "30by100"], "30by100 is not HEIGHTxWIDTH"),
        ([data, "--sizes", "4x100"], "too small for the network"),
        ([data, "--sizes", ","], "--sizes is empty"),
        ([data, "--fractions", "0.1,2"], "2 is not a number above 0 and at most 1"),
        ([data, "--fractions", "all"], "all is not a number"),
        ([data, "--size", "30x100"], "give --sizes"),
        ([tmp_path / "none"], "does not exist"),
        ([data, "-o", full], "is not empty"),
        ([data, "-o", tmp_path / "damaged"], "is damaged"),
    ]
    for arguments, said in calls:
        done = boatinfer("train", "sweep", "-o", tmp_path / "out", *arguments)
        assert (done.code, done.out) == (2, ""), done.err
        assert said in done.err
        assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert [path.name for path in full.iterdir()] == ["thesis.txt"]
