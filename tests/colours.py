"""A classifier of colours that tests can check by hand, and pictures for it.

The network averages each channel over the picture, takes the averages / 255 as features
[N, 3], and the softmax of ten times the features as probabilities, in the order of
CLASSES. A fourth output, the negative features, can pass for the scores of an SVM. No
training library is needed to build it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from PIL import Image

from boatinfer import images
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import (
    CARD_KEY,
    GOLDEN_KEY,
    Card,
    Features,
    FusedSVM,
    Golden,
    GoldenImage,
    InputSpec,
    Outputs,
    encode,
)
from boatinfer.models.seal import seal

CLASSES = ["red", "green", "blue"]
COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
SPEC = ImageSpec(height=12, width=40)


def expected(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Probabilities [3] of the network for uint8 [H, W, 3], in plain numpy."""
    powers = np.exp(10 * pixels.reshape(-1, 3).mean(axis=0) / 255)
    return np.asarray(powers / powers.sum())


def picture(
    colour: str, seed: int = 0, size: tuple[int, int] = (80, 24), form: str = "JPEG", **save: Any
) -> bytes:
    """Encodes a noisy picture of a colour; ``size`` is width and height."""
    noise = np.random.default_rng(seed).integers(-25, 26, (size[1], size[0], 3))
    pixels = (np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, form, **save)
    return encoded.getvalue()


def card(**changes: Any) -> Card:
    """The network's card."""
    fields: dict[str, Any] = {
        "name": "colours",
        "created": "2026-01-01T00:00:00Z",
        "classes": CLASSES,
        "image": SPEC,
        "input": InputSpec(name="image"),
        "outputs": Outputs(probabilities="probabilities", features="features"),
        "features": Features(dimension=3, layer="average"),
    }
    return Card(**(fields | changes))


def golden(spec: ImageSpec = SPEC) -> Golden:
    """One picture a class, with its probabilities."""
    pictures = [picture(colour, seed=7) for colour in CLASSES]
    return Golden(
        images=[GoldenImage(p, expected(images.read(p, spec)).tolist()) for p in pictures]
    )


def graph() -> onnx.ModelProto:
    """The network alone, without a card."""
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 255])
    ten = helper.make_tensor("ten", TensorProto.FLOAT, [], [10.0])
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["average"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["average", "scale"], ["features"]),
        helper.make_node("Mul", ["features", "ten"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("Neg", ["features"], ["lacks"]),
    ]
    tensor = helper.make_tensor_value_info
    return helper.make_model(
        helper.make_graph(
            nodes,
            "colours",
            [tensor("image", TensorProto.UINT8, ["batch", SPEC.height, SPEC.width, 3])],
            [
                tensor("probabilities", TensorProto.FLOAT, ["batch", 3]),
                tensor("features", TensorProto.FLOAT, ["batch", 3]),
                tensor("logits", TensorProto.FLOAT, ["batch", 3]),
                tensor("lacks", TensorProto.FLOAT, ["batch", 3]),
            ],
            [scale, ten],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Writes an ONNX model as it now is, sealed."""
    path.write_bytes(seal(model.SerializeToString()))
    return path


def write_model(path: Path, card: Card | None = None, golden: Golden | None = None) -> Path:
    """Writes the network with a card and golden images as an ONNX file."""
    model = graph()
    documents = {
        CARD_KEY: encode(card or globals()["card"]()),
        GOLDEN_KEY: encode(golden or globals()["golden"]()),
    }
    helper.set_model_props(model, documents)
    return save(model, path)


def write_model_with_svm(path: Path, spoil: float = 0.0) -> Path:
    """Writes the network with an SVM inside, which names the colour that a picture lacks most.

    Args:
        path: the file.
        spoil: added to the golden SVM scores.
    """
    described = card(
        outputs=Outputs("probabilities", features="features", svm="lacks"),
        svm=FusedSVM(["no red", "no green", "no blue"], "linear", model="f00d"),
    )
    tests = []
    for test in golden().images:
        averages = images.read(test.image, SPEC).mean(axis=(0, 1)) / 255
        tests.append(msgspec.structs.replace(test, svm=(spoil - averages).tolist()))
    return write_model(path, described, Golden(images=tests))


def write_pictures(folder: Path, each: int) -> None:
    """Makes ``each`` pictures of every colour, in one sub-folder a colour."""
    for colour in CLASSES:
        (folder / colour).mkdir(parents=True, exist_ok=True)
        for seed in range(each):
            (folder / colour / f"{seed:03d}.jpg").write_bytes(picture(colour, seed))
