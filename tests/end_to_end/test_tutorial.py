"""docs/tutorial.md: every command of it, in its order, on small made data.

All run in this process, so that TensorFlow is loaded once. A small network stands in for ResNet50,
whose weights are not downloaded.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import colours
from boattrain.backend import load_keras
from boattrain.networks import imagenet
from server import Site, serving
from support import COUNTS, Command, rows, write_data

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"^```console\n(.*?)^```$", TEXT, re.M | re.S)
    for line in block.splitlines()
]
(ARCHIVE,) = re.findall(r"data download (\S+)", TEXT)
#: The images of the tutorial, and those of the made data in their place; a shorter sweep.
REPLACED = {
    "0.1,0.3,1": "0.5,1",
    "Gondola/a.jpg": "red/00.jpg",
    "Gondola/b.jpg": "red/01.jpg",
    "Water/c.jpg": "blue/00.jpg",
}
#: Makes trainings short; the rest is as the tutorial has it.
SHORTER = {name: ["--epochs", "2"] for name in ("cnn", "resnet", "sweep")}


def stand_in(include_top: bool, weights: None, input_tensor: Any) -> Any:
    """A small network with the layers of ResNet50 that are named elsewhere."""
    from keras import Model, layers, utils

    x = layers.Conv2D(4, 7, 4, "same", name="conv1_conv")(input_tensor)
    x = layers.BatchNormalization(name="conv1_bn")(x)
    x = layers.Conv2D(2048, 3, 8, "same", name="conv5_block3_3_conv")(x)
    x = layers.ReLU(name="conv5_block3_out")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    return Model(utils.get_source_inputs(input_tensor), x)


@pytest.fixture
def keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Keras, with a ResNet50 that is small and a list of ImageNet's classes."""
    keras = load_keras()
    home = tmp_path / "keras"
    (home / "models").mkdir(parents=True)
    names = {str(number): [f"n{number:08}", f"thing_{number}"] for number in range(1000)}
    (home / "models" / imagenet.CLASS_INDEX.name).write_text(json.dumps(names))
    for weights in (imagenet.RESNET50_TOP, imagenet.RESNET50_NO_TOP):
        (home / "models" / weights.name).touch()
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr(keras.applications, "ResNet50", stand_in)
    monkeypatch.setattr(imagenet, "_load_weights", lambda *_: None)
    return keras


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Serves an archive of train/, valid/ and test/."""
    data = write_data(tmp_path / "packed" / "data")
    for seed, name in enumerate(colours.CLASSES):
        (data / "test" / name).mkdir(parents=True)
        for number in range(COUNTS["valid"]):
            content = colours.picture(name, 1000 + 10 * seed + number)
            (data / "test" / name / f"{number:02}.jpg").write_bytes(content)
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", data)
    with serving(Site(Path(archive).read_bytes())) as site:
        yield site


def test_every_command_of_the_tutorial(
    boatinfer: Command,
    keras: ModuleType,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(colours.picture("red", 7))
    printed = {}
    for name, *arguments in COMMANDS:
        assert name == "boatinfer"
        line = " ".join(arguments)
        replaced = [_replaced(argument).replace(ARCHIVE, site.url) for argument in arguments]
        replaced += SHORTER.get(arguments[1], [])
        done = boatinfer(*replaced)
        assert done.code == 0, f"{line}\n{done.out}\n{done.err}"
        printed[line] = done.out
    _check(tmp_path, printed)


def _replaced(argument: str) -> str:
    for name, made in REPLACED.items():
        argument = argument.replace(name, made)
    return argument


def _check(folder: Path, printed: dict[str, str]) -> None:
    """Compares what the steps left with what the tutorial says of it."""
    for picture in ("batch.png", "batch-augmented.png", "svms.png", "sweep/sweep.png"):
        with Image.open(folder / picture) as image:
            assert image.format == "PNG"
    test = len(list((folder / "boats/test").rglob("*.jpg")))
    assert test == COUNTS["valid"] * len(colours.CLASSES)
    for out in ("test-out", "resnet-out", "svm-out"):
        assert len(rows(folder / out)) == test
    assert all(row["svm_label"] for row in rows(folder / "svm-out"))
    (evaluated,) = (out for line, out in printed.items() if line.startswith("evaluate test-out"))
    assert f"images of known class: {test}\n" in evaluated
    (named,) = (out for line, out in printed.items() if line.startswith("classify"))
    assert len(re.findall(r"%  thing_\d+$", named, re.M)) == 5
    assert {"boats-cnn.curves.png", "boats-cnn.confusion.png"} <= {
        file.name for file in folder.iterdir()
    }
    with np.load(folder / "features.npz") as arrays:
        count = COUNTS["train"] * len(colours.CLASSES)
        assert arrays["features"].shape == (count, 50)
        assert set(arrays) == {"features", "paths", "labels"}
    sweep = rows(folder / "sweep", "sweep.csv")
    assert len(sweep) == 2 * 2


def test_the_steps_are_those_of_the_course_in_order() -> None:
    steps = re.findall(r"^## (\d+)\. ", TEXT, re.M)
    assert steps == [str(number) for number in range(1, 11)]
