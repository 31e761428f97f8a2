"""The network of the built-in model, and its training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from boatinfer.images import Pixels
from boatinfer.images.spec import ImageSpec
from boattrain.backend import load_keras
from boattrain.fitting.batches import Batches, Rows
from boattrain.fitting.loop import Part, Stage
from boattrain.fitting.losses import compile_for_training
from boattrain.fitting.memory import require_memory
from boattrain.fitting.pixels import Data
from boattrain.networks.base import FEATURES, INPUT, PROBABILITIES, Network
from boattrain.networks.fused_batch_norm import fused
from boattrain.options import BoatsOptions

__all__ = ["BOATS", "Halved", "boats"]

#: Channels and stride of the residual blocks.
_BLOCKS = ((24, 2), (48, 2), (48, 1), (96, 2), (96, 1), (160, 2), (160, 1))

#: Divides the logits of the trained network, so that its confidence is the share that is
#: right; the best one for images held out of train.
_TEMPERATURE = 0.8


def boats(spec: ImageSpec, classes: int) -> Any:
    """Builds a compact residual network of separable convolutions, untrained.

    The blocks are residual (He et al., "Deep Residual Learning for Image Recognition", 2016)
    around two separable convolutions (Chollet, "Xception", 2017). A boat covers a
    small part of its picture, so the features are no plain mean over the places: each
    channel weighs the places by an attention of its own, which starts as the mean.

    The scaling of the pixels is a part of it; `FEATURES` gives float32 [N, 160]. No weight
    depends on the size.

    Args:
        spec: size of the input.
        classes: number of classes.

    Returns:
        A ``keras.Model``.
    """
    keras = load_keras()
    layers = keras.layers
    image = keras.Input((spec.height, spec.width, 3), dtype="uint8", name=INPUT)
    x = layers.Rescaling(1 / 64)(image)
    x = _normalised(layers.Conv2D(16, 3, 2, "same", use_bias=False)(x))
    x = layers.ReLU()(x)
    for channels, stride in _BLOCKS:
        x = _residual(x, channels, stride)
    features = _attended(x)
    x = layers.Dropout(0.2)(features)
    probabilities = layers.Dense(classes, activation="softmax", name=PROBABILITIES)(x)
    return keras.Model(image, probabilities, name="boats")


def _residual(x: Any, channels: int, stride: int) -> Any:
    layers = load_keras().layers
    skipped = x
    if stride > 1:
        skipped = layers.AveragePooling2D(stride, padding="same")(skipped)
    if x.shape[-1] != channels:
        skipped = _normalised(layers.Conv2D(channels, 1, use_bias=False)(skipped))
    x = _separable(x, channels, stride)
    x = _separable(layers.ReLU()(x), channels, 1)
    return layers.ReLU()(layers.Add()([skipped, x]))


def _separable(x: Any, channels: int, stride: int) -> Any:
    # Nothing between the two, as in Xception: without that norm it learns faster and better.
    layers = load_keras().layers
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(x)
    return _normalised(layers.Conv2D(channels, 1, use_bias=False)(x))


def _normalised(x: Any) -> Any:
    # Keras's momentum of 0.99 is too slow for some thousand steps.
    return load_keras().layers.BatchNormalization(momentum=0.9)(x)


def _attended(x: Any) -> Any:
    layers = load_keras().layers
    channels = x.shape[-1]
    attention = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer="zeros")(x)
    places = layers.Softmax(axis=1)(layers.Reshape((-1, channels))(attention))
    weighed = layers.Multiply()([places, layers.Reshape((-1, channels))(x)])
    total = load_keras().ops.sum(weighed, axis=1)
    return layers.Activation("linear", name=FEATURES)(total)  # gives the sum a name


@dataclass(frozen=True)
class Halved:
    """Pixels at half their height and width; each is the mean of four.

    Attributes:
        pixels: uint8 [N, H, W, 3].
    """

    pixels: Pixels

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the halved pixels, [N, H // 2, W // 2, 3]."""
        count, height, width, channels = self.pixels.shape
        return count, height // 2, width // 2, channels

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """As that of the pixels."""
        return self.pixels.dtype

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Pixels:
        """Halves some of the images."""
        _, height, width, _ = self.shape
        whole = self.pixels[rows, : 2 * height, : 2 * width].astype(np.uint16)
        pairs = whole[:, ::2] + whole[:, 1::2]
        return ((pairs[:, :, ::2] + pairs[:, :, 1::2] + 2) // 4).astype(np.uint8)


def _stages(model: Any, data: Data, options: BoatsOptions) -> Sequence[Stage]:
    """Trains at half the size, where an epoch takes a quarter, then at the whole."""
    train, valid = data.train.pixels, data.valid.pixels
    if not options.half_epochs:
        return [_stage("whole", model, data, options, (train, valid))]
    require_memory(model, options.batch_size)  # before it has been trained at half the size
    half = dataclasses.replace(options, epochs=options.half_epochs)
    rest = dataclasses.replace(options, learning_rate=options.learning_rate / 2)
    return [
        _stage("half", model, data, half, (Halved(train), Halved(valid))),
        _stage("whole", model, data, rest, (train, valid)),
    ]


def _stage(
    name: str, model: Any, data: Data, options: BoatsOptions, pixels: tuple[Rows, Rows]
) -> Stage:
    """Trains the network on pixels of train and valid, at the size that they have."""
    train, valid = pixels

    def prepare(_: Callable[[], None]) -> Part:
        fast = fused(model, train.shape[1:])
        compile_for_training(fast, options, data.train.labels)
        return Part(fast, Batches.of(train, data, options), valid)

    return Stage(name, options, prepare)


def _calibrated(model: Any, data: Data) -> Any:
    """Divides the logits by the temperature (Guo et al., 2017), inside the last layer."""
    last = model.get_layer(PROBABILITIES)
    last.set_weights([weights / _TEMPERATURE for weights in last.get_weights()])
    return model


#: 66 pixels leave the last block two places in each direction, at half the size as well.
BOATS = Network(smallest=66, build=boats, stages=_stages, finish=_calibrated)
