"""A foreign multi-label model from `model describe` to `evaluate`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import colours
import networks
from boatexport.foreign.describing import describe_model
from boatexport.options import DescribeOptions
from boatinfer.errors import UsageError
from boatinfer.models.model import open_model
from support import Command, rows

NAMES = ",".join(networks.CLASSES)


def described(folder: Path, *ends: str, **options: Any) -> Path:
    colours.write_pictures(folder / "pictures", each=2)
    model = networks.save(networks.torch_layout(ends=ends), folder / "net.onnx")
    output = folder / "described.onnx"
    options = dict[str, Any](
        {"classes": NAMES, "scale": "1/255", "multi_label": True, "force": True} | options
    )
    return describe_model(DescribeOptions(model, output, folder / "pictures", **options)).path


@pytest.mark.parametrize("ends", [("Sigmoid",), ("Sigmoid", "Identity"), ()])
def test_labels_are_those_that_reach_their_threshold(
    tmp_path: Path, boatinfer: Command, ends: tuple[str, ...]
) -> None:
    thresholds = [0.2, 0.5, 0.5, 0.9]
    model = described(tmp_path, *ends, threshold=",".join(map(str, thresholds)))
    assert open_model(model).card.thresholds == thresholds
    out = tmp_path / "out"
    assert boatinfer("run", tmp_path / "pictures", "-m", model, "-o", out).code == 0
    found = open_model(model).predict(sorted((tmp_path / "pictures").rglob("*.jpg")))
    table = rows(out)
    assert list(table[0])[-1] == "labels"
    several = set()
    for row, probabilities in zip(table, found.probabilities, strict=True):
        order = np.argsort(-probabilities)
        wanted = [networks.CLASSES[i] for i in order if probabilities[i] >= thresholds[i]]
        assert row["labels"] == ";".join(wanted)
        assert row["label"] == networks.CLASSES[order[0]]
        several.add(len(wanted))
    assert max(several) > 1  # these are not softmax scores


def test_evaluate_gives_map_and_f1_of_each_class(tmp_path: Path, boatinfer: Command) -> None:
    model, out = described(tmp_path, "Sigmoid"), tmp_path / "out"
    boatinfer("run", tmp_path / "pictures", "-m", model, "-o", out)
    refused = boatinfer("evaluate", out)
    assert refused.code == 2
    assert "is of a multi-label model: give its true labels" in refused.err
    truth = tmp_path / "truth.csv"
    with truth.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "labels"])
        writer.writerows([row["path"], row["label"], row["labels"]] for row in rows(out)[1:])
    done = boatinfer("evaluate", out, "--labels", truth, "--json")
    figures = json.loads(done.out)
    assert figures["unlabelled"] == 1
    assert figures["network"]["exact"] == 1
    assert figures["network"]["mean_average_precision"] == 1
    assert {c["f1"] for c in figures["network"]["classes"].values()} <= {1, None}
    said = boatinfer("evaluate", out, "--labels", truth)
    assert "images of known labels: 5" in said.out
    assert "mAP 1.000" in said.out
    assert "Left out: 1 without labels." in said.out
    truth.write_text("path,label\nred/000.jpg,red;boat\n")
    done = boatinfer("evaluate", out, "--labels", truth)
    assert (done.code, "has no class boat" in done.err) == (2, True)


def test_what_says_that_a_model_is_multi_label(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "id2label": dict(enumerate(networks.CLASSES)),
                "problem_type": "multi_label_classification",
            }
        )
    )
    model = described(tmp_path, classes=None, multi_label=False)
    assert open_model(model).card.thresholds == [0.5] * 4
    with pytest.raises(UsageError, match="separates the labels"):
        described(tmp_path, classes="a;,b,c,d")
