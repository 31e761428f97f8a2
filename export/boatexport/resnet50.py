"""ResNet50 as published by Keras, with the 1,000 classes of ImageNet."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from boatexport.options import IMAGENET, RESNET50
from boatinfer.errors import UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import Card, Features, InputSpec, Outputs
from boatinfer.models.device import Device
from boatinfer.models.model import open_model
from boattrain.backend import load_keras
from boattrain.networks.imagenet import RESNET50_TOP, build_resnet50, fetch, imagenet_class_names

__all__ = ["build", "find_weights", "golden_drawings", "make_card"]

#: Bilinear as in the training of this network; EXIF orientation is applied.
_IMAGE_SPEC = ImageSpec(height=224, width=224, resize="bilinear")
_INPUT_NAME = "image"
_LICENCE = "MIT (weights of Kaiming He and others, ported by Keras); trained on ImageNet"
#: Number of golden images, few as this network is slow.
_GOLDEN_COUNT = 4


def find_weights(weights: str) -> Path:
    """Returns the weights file; the published one is downloaded if needed.

    Args:
        weights: ``imagenet``, or a path.

    Raises:
        UsageError: there is no such file or cannot be downloaded.
    """
    if weights == IMAGENET:
        return fetch(RESNET50_TOP, ", or give --weights FILE")
    if not Path(weights).is_file():
        raise UsageError(f"--weights {weights}: there is no such file; give a file, or {IMAGENET}.")
    return Path(weights)


def make_card(weights: Path) -> Card:
    """Makes the card.

    Raises:
        UsageError: the class names are missing or damaged.
    """
    return Card(
        name=RESNET50,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=_LICENCE if weights.name == RESNET50_TOP.name else "",
        notes=f"keras.applications.ResNet50 with the weights {weights.name}",
        classes=imagenet_class_names(),
        image=_IMAGE_SPEC,
        input=InputSpec(name=_INPUT_NAME),
        outputs=Outputs(probabilities="probabilities", features="features"),
        features=Features(dimension=2048, layer="avg_pool"),
    )


def build(weights: Path) -> Any:
    """Builds the network, from raw pixels to probabilities.

    Returns:
        A Keras model, uint8 [N, 224, 224, 3] RGB to float32 [N, 1000].

    Raises:
        UsageError: the file does not have the weights of this network.
    """
    keras = load_keras()
    pixels = keras.Input(
        (_IMAGE_SPEC.height, _IMAGE_SPEC.width, 3), dtype="uint8", name=_INPUT_NAME
    )
    return build_resnet50(pixels, weights, top=True)


def golden_drawings() -> list[bytes]:
    """Returns the golden images: drawings, from those of the built-in model."""
    golden = open_model(device=Device.CPU).golden.images
    return [image.image for image in golden[:_GOLDEN_COUNT]]
