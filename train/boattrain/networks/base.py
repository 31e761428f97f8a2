"""The networks that can be trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from boatinfer.images.spec import ImageSpec
from boattrain.backend import load_keras
from boattrain.fitting.batches import Batches
from boattrain.fitting.loop import Part, Stage
from boattrain.fitting.losses import compile_for_training
from boattrain.fitting.pixels import Data
from boattrain.options import TrainOptions

__all__ = ["CNN", "FEATURES", "INPUT", "PROBABILITIES", "Network", "cnn", "whole"]

#: Names of the input and of the layers whose outputs are the class probabilities and the
#: feature vector.
INPUT = "image"
PROBABILITIES = "probabilities"
FEATURES = "features"


def whole(model: Any, data: Data, options: TrainOptions) -> Sequence[Stage]:
    """Trains all of a network, from pixels, in one stage."""

    def prepare(_: Callable[[], None]) -> Part:
        compile_for_training(model, options, data.train.labels)
        return Part(model, Batches.of(data.train.pixels, data, options), data.valid.pixels)

    return [Stage("whole", options, prepare)]


@dataclass(frozen=True)
class Network:
    """A network that `boattrain.training.train` can train.

    Attributes:
        smallest: fewest rows and columns of its input, pixels.
        build: takes the size and the number of classes C; gives a Keras model that takes
            uint8 [N, H, W, 3], raw RGB, by the name `INPUT`, and gives probabilities
            float32 [N, C] from the layer `PROBABILITIES`.
        features: name of the layer whose output is the feature vector [N, D], or the map
            [N, h, w, D] whose average it is.
        stages: how it is trained.
        finish: takes the trained model and gives the one to save, calibrated for instance.
    """

    smallest: int
    build: Callable[[ImageSpec, int], Any]
    features: str = FEATURES
    stages: Callable[[Any, Data, Any], Sequence[Stage]] = whole  # takes the options of its own
    finish: Callable[[Any, Data], Any] = lambda model, _: model


def cnn(spec: ImageSpec, classes: int) -> Any:
    """Builds the small convolutional network, untrained.

    The scaling of the pixels to [0, 1] is a part of it; `FEATURES` gives float32 [N, 50].

    Args:
        spec: size of the input.
        classes: number of classes.

    Returns:
        A ``keras.Model``.
    """
    keras = load_keras()
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((spec.height, spec.width, 3), dtype="uint8", name=INPUT),
            layers.Rescaling(1 / 255),
            layers.Conv2D(30, 5, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(15, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(50, activation="relu", name=FEATURES),
            layers.Dense(classes, activation="softmax", name=PROBABILITIES),
        ],
        name="cnn",
    )


#: 12 pixels leave it one value after its second pooling.
CNN = Network(smallest=12, build=cnn)
