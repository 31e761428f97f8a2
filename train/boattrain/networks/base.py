"""The networks that can be trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from boatinfer.images.spec import ImageSpec
from boattrain.backend import load_keras
from boattrain.fitting.batches import Batches
from boattrain.fitting.loop import PreparedStage, Stage
from boattrain.fitting.losses import compile_for_training
from boattrain.fitting.pixels import TrainingData
from boattrain.options import TrainOptions

__all__ = ["CNN", "FEATURES", "INPUT", "PROBABILITIES", "Network", "build_cnn", "single_stage"]

#: Names of the input, and of the layers of the class probabilities and the feature vector.
INPUT = "image"
PROBABILITIES = "probabilities"
FEATURES = "features"


def single_stage(model: Any, data: TrainingData, options: TrainOptions) -> Sequence[Stage]:
    """Returns a single stage that trains the whole network."""

    def prepare(_: Callable[[], None]) -> PreparedStage:
        compile_for_training(model, options, data.train.labels)
        return PreparedStage(
            model, Batches.from_data(data.train.pixels, data, options), data.valid.pixels
        )

    return [Stage("whole", options, prepare)]


@dataclass(frozen=True)
class Network:
    """A network that `boattrain.training.train` can train.

    Attributes:
        min_size: smallest height and width of the input, in pixels.
        build: takes the input size and the number of classes C, and returns a Keras model. Its
            input `INPUT` is raw RGB, uint8 [N, H, W, 3]; its layer `PROBABILITIES` returns
            float32 [N, C], the softmax of a linear layer's logits.
        features: name of the layer that returns the feature vector [N, D], or a feature map
            [N, h, w, D] to be averaged.
        stages: takes the model, the data and the options, and returns the training stages.
    """

    min_size: int
    build: Callable[[ImageSpec, int], Any]
    features: str = FEATURES
    stages: Callable[[Any, TrainingData, Any], Sequence[Stage]] = (
        single_stage  # of the network's own options
    )


def build_cnn(spec: ImageSpec, classes: int) -> Any:
    """Builds the small convolutional network, untrained.

    It includes the rescaling of the pixels to [0, 1]; `FEATURES` returns float32 [N, 50].

    Args:
        spec: input size.
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


#: From 12 pixels, one value is left after the second pooling.
CNN = Network(min_size=12, build=build_cnn)
