"""Exported graphs beside what tf2onnx writes: nodes, bytes, images a second on one thread.

Usage: python benchmarks/graph_quality.py [--repeats 40]

The networks have random weights: their speed is that of trained ones. Both graphs run in
turns, and the best of their CPU times count.
"""

from __future__ import annotations

import argparse
import time
from typing import Any
from unittest import mock

import numpy as np

CLASSES = 16
NETWORKS = {"cnn": (30, 100), "boats": (120, 400), "resnet50": (240, 800)}


def build(kind: str, height: int, width: int) -> Any:
    """Makes a Keras network whose normalisations are not the identity."""
    from boatinfer.images.spec import ImageSpec
    from boattrain.backend import load_keras
    from boattrain.networks.base import CNN
    from boattrain.networks.boats import build_boats

    keras = load_keras()
    spec = ImageSpec(height, width)
    if kind == "resnet50":
        pixels = keras.Input((height, width, 3), dtype="uint8", name="image")
        base = keras.applications.ResNet50(
            weights=None, classes=CLASSES, input_shape=pixels.shape[1:]
        )
        model = keras.Model(pixels, base(keras.layers.Rescaling(1 / 127.5, -1)(pixels)))
    else:
        model = {"cnn": CNN.build, "boats": build_boats}[kind](spec, CLASSES)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith(("beta", "moving_mean", "moving_variance")):
            weight.assign(random.uniform(0.1, 1, weight.shape))
    return model


def graphs(kind: str, height: int, width: int) -> tuple[Any, Any]:
    """Exports a network without and with tidying."""
    from boatexport import convert
    from boatinfer.images.spec import ImageSpec
    from boatinfer.models.card import Card, InputSpec, Outputs

    card = Card(
        name=kind,
        created="",
        classes=[f"class {number}" for number in range(CLASSES)],
        image=ImageSpec(height, width),
        input=InputSpec("image"),
        outputs=Outputs(probabilities="probabilities"),
    )
    model = convert.with_features(build(kind, height, width), card, kind)
    with mock.patch.object(convert, "simplify", lambda graph: graph):
        plain = convert.convert(model, card)
    return plain, convert.convert(model, card)


def speeds(models: tuple[Any, ...], batch: Any, repeats: int) -> list[float]:
    """Images a second of several graphs."""
    from boatinfer.models.session import open_session

    sessions = [open_session(model.SerializeToString(), "", "cpu", 1)[0] for model in models]
    best = [np.inf] * len(sessions)
    for which in [*range(len(sessions))] * repeats:
        started = time.thread_time()
        sessions[which].run(["probabilities"], {"image": batch})
        best[which] = min(best[which], time.thread_time() - started)
    return [len(batch) / seconds for seconds in best]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    repeats = parser.parse_args().repeats
    print(f"{'':<10}{'nodes':>12}{'bytes':>26}{'images/s':>22}{'times':>7}")
    for kind, (height, width) in NETWORKS.items():
        models = graphs(kind, height, width)
        random = np.random.default_rng(0)
        batch = random.integers(0, 256, (4, height, width, 3), np.uint8)
        before, after = speeds(models, batch, repeats if height < 200 else max(3, repeats // 8))
        nodes = " -> ".join(str(len(model.graph.node)) for model in models)
        size = " -> ".join(f"{model.ByteSize():,}" for model in models)
        rate = f"{before:,.1f} -> {after:,.1f}"
        print(f"{kind:<10}{nodes:>12}{size:>26}{rate:>22}{after / before:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
