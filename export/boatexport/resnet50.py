"""ResNet50 as Keras publishes it: the 1,000 classes of ImageNet, nothing trained anew."""

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

__all__ = ["build", "describe", "drawn", "find_weights"]

#: Bilinear as in the training of such networks; upright as people see a photo.
_IMAGE = ImageSpec(height=224, width=224, resize="bilinear")
_INPUT = "image"
_LICENCE = "MIT (weights of Kaiming He and others, ported by Keras); trained on ImageNet"
#: Images of the self-test: this network takes a while for each.
_GOLDEN_IMAGES = 4


def find_weights(weights: str) -> Path:
    """Finds the file of weights; the published one is downloaded if need be.

    Args:
        weights: ``imagenet``, or a file.

    Raises:
        UsageError: there is none.
    """
    if weights == IMAGENET:
        return fetch(RESNET50_TOP, ", or give --weights FILE")
    if not Path(weights).is_file():
        raise UsageError(f"--weights {weights}: there is no such file; give one, or {IMAGENET}.")
    return Path(weights)


def describe(weights: Path) -> Card:
    """Writes the card.

    Raises:
        UsageError: the class names are missing or damaged.
    """
    return Card(
        name=RESNET50,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=_LICENCE if weights.name == RESNET50_TOP.name else "",
        notes=f"keras.applications.ResNet50 with the weights {weights.name}",
        classes=imagenet_class_names(),
        image=_IMAGE,
        input=InputSpec(name=_INPUT),
        outputs=Outputs(probabilities="probabilities", features="features"),
        features=Features(dimension=2048, layer="avg_pool"),
    )


def build(weights: Path) -> Any:
    """Builds the network from raw pixels to probabilities.

    Returns:
        A Keras model, uint8 [N, 224, 224, 3] RGB to float32 [N, 1000].

    Raises:
        UsageError: the file does not hold the weights of this network.
    """
    keras = load_keras()
    pixels = keras.Input((_IMAGE.height, _IMAGE.width, 3), dtype="uint8", name=_INPUT)
    return build_resnet50(pixels, weights, top=True)


def drawn() -> list[bytes]:
    """Gives the pictures of the self-test, which are drawings from the built-in model's."""
    golden = open_model(device=Device.CPU).golden.images
    return [image.image for image in golden[:_GOLDEN_IMAGES]]
