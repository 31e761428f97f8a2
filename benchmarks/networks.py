"""Model files of known networks with random weights, whose speed is that of trained ones.

Usage: python benchmarks/networks.py cnn|resnet50 FILE.onnx HEIGHT WIDTH

A process of its own, since the peak memory of a process counts that of its parent.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from measure import measure

CLASSES = 16
SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.jpg"))


def write_network(kind: str, path: Path, height: int, width: int) -> None:
    """Writes a network, ``cnn`` or ``resnet50``, in another process."""
    measure([sys.executable, __file__, kind, str(path), str(height), str(width)])


def write_cnn(path: Path, height: int, width: int) -> None:
    """Writes the network of `boatinfer train cnn`."""
    from boatinfer.images.spec import ImageSpec
    from boattrain.networks.base import CNN

    spec = ImageSpec(height, width)
    _write(path, CNN.build(spec, CLASSES), spec, CNN.features, 50)


def write_resnet50(path: Path, height: int, width: int) -> None:
    """Writes a ResNet50 with 16 classes."""
    from boatinfer.images.spec import ImageSpec
    from boattrain.backend import load_keras

    keras = load_keras()
    pixels = keras.Input((height, width, 3), dtype="uint8", name="image")
    base = keras.applications.ResNet50(include_top=False, weights=None, pooling="avg")
    features = keras.layers.Identity(name="features")(
        base(keras.layers.Rescaling(1 / 127.5, -1)(pixels))
    )
    probabilities = keras.layers.Dense(CLASSES, activation="softmax")(features)
    _write(path, keras.Model(pixels, probabilities), ImageSpec(height, width), "features", 2048)


def _write(path: Path, model: Any, image: Any, features: str, dimension: int) -> None:
    from boatexport.convert import convert, embed_card, with_features
    from boatinfer.models.card import Card, Features, InputSpec, Outputs
    from boatinfer.models.golden import make_golden

    card = Card(
        name=path.stem,
        created="",
        classes=[f"class {number}" for number in range(CLASSES)],
        image=image,
        input=InputSpec("image"),
        outputs=Outputs(probabilities="probabilities", features="features"),
        features=Features(dimension, features),
    )
    both = with_features(model, card, path)
    golden = make_golden(
        [SAMPLES[0].read_bytes()], image, lambda batch: np.array(both(batch)["probabilities"])
    )
    path.write_bytes(embed_card(convert(both, card), card, golden))


if __name__ == "__main__":
    kind, file, height, width = sys.argv[1:]
    write = {"cnn": write_cnn, "resnet50": write_resnet50}[kind]
    write(Path(file), int(height), int(width))
