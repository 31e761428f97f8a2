"""A classifier of colours that says of grey pictures that it was never taught them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

import colours
from boatinfer import images
from boatinfer.models.card import (
    CARD_KEY,
    GOLDEN_KEY,
    Golden,
    GoldenImage,
    Novelty,
    Outputs,
    Rejection,
    encode,
)

OUTPUTS = Outputs(probabilities="probabilities", features="features", novelty="novelty")


def novelty(pixels: images.Pixels) -> float:
    """What the network says: 1 less the spread of the mean colour."""
    mean = pixels.astype(np.float64).mean(axis=(0, 1)) / 255
    return float(1 - (mean.max() - mean.min()))


def write_model(path: Path, network: str | None = None, max_novelty: float = 0.9) -> Path:
    """Writes the network as an ONNX file; ``network`` is as of its card."""
    model = colours.graph()
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["features"], ["most"], axes=[1]),
            helper.make_node("ReduceMin", ["features"], ["least"], axes=[1]),
            helper.make_node("Sub", ["least", "most"], ["negative"]),
            helper.make_node("Add", ["negative", "one"], ["novelty"]),
        ]
    )
    model.graph.initializer.append(helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]))
    model.graph.output.append(
        helper.make_tensor_value_info("novelty", TensorProto.FLOAT, ["batch", 1])
    )
    figures = {"knn": {"noise": Rejection(0.99, 0.02)}}
    described = Novelty("knn", {"train": 9, "valid": 9}, figures, max_novelty)
    card = colours.card(outputs=OUTPUTS, novelty=described, network=network)
    tests = [
        GoldenImage(
            one.image, one.probabilities, None, novelty(images.read(one.image, colours.SPEC))
        )
        for one in colours.golden().images
    ]
    metadata = {CARD_KEY: encode(card), GOLDEN_KEY: encode(Golden(images=tests))}
    helper.set_model_props(model, metadata)
    return colours.save(model, path)
