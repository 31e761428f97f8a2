"""Compares `model describe` with a library; ``python -m parity.comparing`` prints a table."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnxruntime

from boatexport.foreign.describing import describe_model
from boatexport.options import DescribeOptions
from boatinfer.models.model import Model, open_model
from parity.network import SIZE, write_network
from parity.pipelines import Pipeline, pipelines

IMAGES = 55
CLASSES = ",".join(f"class {index}" for index in range(1000))
DECODES = ("full", "double", "scaled")


class Agreement(NamedTuple):
    """Share of equal labels, and the largest difference of a probability."""

    top_1: float
    difference: float


def photographs(folder: Path) -> list[Path]:
    """Some of the valid photographs, of all classes."""
    paths = sorted(folder.rglob("*.jpg"))
    return paths[:: max(1, len(paths) // IMAGES)][:IMAGES]


def described(network: Path, pipeline: Pipeline, photos: list[Path], folder: Path) -> Model:
    """The network with the card that `model describe` makes of what the makers wrote."""
    for name, text in pipeline.files.items():
        (folder / name).write_text(text)
    golden = folder / "golden"
    golden.mkdir()
    for photo in photos[:3]:
        shutil.copy(photo, golden)
    model = folder / network.name
    for file in network.parent.glob(f"{network.name}*"):
        shutil.copy(file, folder)
    options = {"classes": CLASSES} | pipeline.options
    done = describe_model(DescribeOptions(model, folder / "described.onnx", golden, **options))
    return open_model(done.path, "cpu")


def reference(network: Path, pipeline: Pipeline, photos: list[Path]) -> np.ndarray[Any, Any]:
    """Probabilities by the library's pixels and plain onnxruntime."""
    session = onnxruntime.InferenceSession(network)
    (fed,) = session.get_inputs()
    found = []
    for photo in photos:
        tensor = np.asarray(pipeline.tensor(photo), np.float32)
        tensor = tensor if tensor.ndim == 4 else tensor[None]
        logits = session.run(None, {fed.name: tensor})[0]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found.append((powers / powers.sum(axis=1, keepdims=True)).mean(axis=0))
    return np.stack(found)


def agreement(
    model: Model, decode: Any, photos: list[Path], wanted: np.ndarray[Any, Any]
) -> Agreement:
    """Compares with the reference, with JPEGs decoded at this size."""
    image = msgspec.structs.replace(model.card.image, decode=decode)
    card = msgspec.structs.replace(model.card, image=image)
    found = Model(
        model.path, model.digest, card, model.device, 8, model.golden, model.session
    ).predict(photos)
    same = found.probabilities.argmax(axis=1) == wanted.argmax(axis=1)
    return Agreement(float(same.mean()), float(np.abs(found.probabilities - wanted).max()))


def main() -> None:
    """Prints the table of docs/foreign-models.md."""
    photos = photographs(Path(os.environ["MARDCT"]) / "valid")
    with tempfile.TemporaryDirectory() as name:
        network = Path(name) / "network.onnx"
        write_network(network)
        sys.stdout.write("| pipeline | whole | twice the size | scaled |\n|---|---|---|---|\n")
        for pipeline in pipelines(SIZE):
            folder = Path(name) / "model"
            folder.mkdir()
            model = described(network, pipeline, photos, folder)
            wanted = reference(network, pipeline, photos)
            cells = [agreement(model, decode, photos, wanted) for decode in DECODES]
            figures = " | ".join(f"{cell.top_1:.2f}, {cell.difference:.4f}" for cell in cells)
            sys.stdout.write(f"| {pipeline.name} | {figures} |\n")
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
