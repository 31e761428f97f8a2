"""The networks that can be trained."""

from __future__ import annotations

from typing import Any

from boattrain.backend import load_keras

__all__ = ["FEATURES", "INPUT", "PROBABILITIES", "SMALLEST", "cnn"]

#: Names of the input and of the layers whose outputs are the class probabilities and the
#: feature vector.
INPUT = "image"
PROBABILITIES = "probabilities"
FEATURES = "features"

#: Fewest rows and columns, in pixels, that leave `cnn` one value after its second pooling.
SMALLEST = 12


def cnn(height: int, width: int, classes: int) -> Any:
    """Builds the small convolutional network, untrained and compiled.

    Its input is uint8 [N, height, width, 3], raw RGB; the scaling to [0, 1] is a part of
    it. Its output is float32 [N, classes], probabilities. The layer ``features`` gives
    float32 [N, 50].

    Args:
        height: rows of the input, pixels, at least `SMALLEST`.
        width: columns of the input, pixels, at least `SMALLEST`.
        classes: number of classes.

    Returns:
        A ``keras.Model``.
    """
    keras = load_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((height, width, 3), dtype="uint8", name=INPUT),
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
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
