"""The architecture of the built-in model, and its training stages."""

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
from boattrain.fitting.batches import Batches, InputRows
from boattrain.fitting.loop import PreparedStage, Stage
from boattrain.fitting.losses import compile_for_training
from boattrain.fitting.memory import require_memory
from boattrain.fitting.pixels import TrainingData
from boattrain.networks.base import FEATURES, INPUT, PROBABILITIES, Network
from boattrain.networks.fused_batch_norm import with_fused_batch_norm
from boattrain.options import BoatsOptions

__all__ = ["BOATS", "HalfResolution", "build_boats"]

#: Channels and stride of each residual block.
_RESIDUAL_BLOCKS = ((24, 2), (48, 2), (48, 1), (96, 2), (96, 1), (160, 2), (160, 1))


def build_boats(spec: ImageSpec, classes: int) -> Any:
    """Builds a compact residual network of separable convolutions, untrained.

    The blocks are residual (He et al., "Deep Residual Learning for Image Recognition", 2016)
    with two separable convolutions each (Chollet, "Xception", 2017). As a boat covers a small
    part of its image, attention pooling replaces global average pooling: each channel has its
    own spatial weights, uniform at the start.

    It includes the rescaling of the pixels; `FEATURES` returns float32 [N, 160]. The weights do
    not depend on the input size.

    Args:
        spec: input size.
        classes: number of classes.

    Returns:
        A ``keras.Model``.
    """
    keras = load_keras()
    layers = keras.layers
    image = keras.Input((spec.height, spec.width, 3), dtype="uint8", name=INPUT)
    x = layers.Rescaling(1 / 64)(image)
    x = _batch_norm(layers.Conv2D(16, 3, 2, "same", use_bias=False)(x))
    x = layers.ReLU()(x)
    for channels, stride in _RESIDUAL_BLOCKS:
        x = _residual(x, channels, stride)
    features = _attention_pooling(x)
    x = layers.Dropout(0.2)(features)
    probabilities = layers.Dense(classes, activation="softmax", name=PROBABILITIES)(x)
    return keras.Model(image, probabilities, name="boats")


def _residual(x: Any, channels: int, stride: int) -> Any:
    layers = load_keras().layers
    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, padding="same")(shortcut)
    if x.shape[-1] != channels:
        shortcut = _batch_norm(layers.Conv2D(channels, 1, use_bias=False)(shortcut))
    x = _separable(x, channels, stride)
    x = _separable(layers.ReLU()(x), channels, 1)
    return layers.ReLU()(layers.Add()([shortcut, x]))


def _separable(x: Any, channels: int, stride: int) -> Any:
    # As in Xception, neither normalisation nor activation in between: it trains better so.
    layers = load_keras().layers
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(x)
    return _batch_norm(layers.Conv2D(channels, 1, use_bias=False)(x))


def _batch_norm(x: Any) -> Any:
    # The default momentum of 0.99 is too slow for a few thousand steps.
    return load_keras().layers.BatchNormalization(momentum=0.9)(x)


def _attention_pooling(x: Any) -> Any:
    layers = load_keras().layers
    channels = x.shape[-1]
    attention = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer="zeros")(x)
    weights = layers.Softmax(axis=1)(layers.Reshape((-1, channels))(attention))
    weighted = layers.Multiply()([weights, layers.Reshape((-1, channels))(x)])
    total = load_keras().ops.sum(weighted, axis=1)
    return layers.Activation("linear", name=FEATURES)(total)  # names the output


@dataclass(frozen=True)
class HalfResolution:
    """Images downsampled to half their height and width, by averaging 2 x 2 pixels.

    Attributes:
        pixels: uint8 [N, H, W, 3].
    """

    pixels: Pixels

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the downsampled images, [N, H // 2, W // 2, 3]."""
        count, height, width, channels = self.pixels.shape
        return count, height // 2, width // 2, channels

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Type of the values."""
        return self.pixels.dtype

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Pixels:
        """Downsamples some of the images."""
        _, height, width, _ = self.shape
        images = self.pixels[rows, : 2 * height, : 2 * width].astype(np.uint16)
        pairs = images[:, ::2] + images[:, 1::2]
        return ((pairs[:, :, ::2] + pairs[:, :, 1::2] + 2) // 4).astype(np.uint8)


def _stages(model: Any, data: TrainingData, options: BoatsOptions) -> Sequence[Stage]:
    """Trains at half resolution, where an epoch takes a quarter of the time, then at full."""
    train, valid = data.train.pixels, data.valid.pixels
    if not options.half_epochs:
        return [_stage("whole", model, data, options, (train, valid))]
    require_memory(model, options.batch_size)  # fail before the first stage
    half_options = dataclasses.replace(options, epochs=options.half_epochs)
    full_options = dataclasses.replace(options, learning_rate=options.learning_rate / 2)
    return [
        _stage("half", model, data, half_options, (HalfResolution(train), HalfResolution(valid))),
        _stage("whole", model, data, full_options, (train, valid)),
    ]


def _stage(
    name: str,
    model: Any,
    data: TrainingData,
    options: BoatsOptions,
    pixels: tuple[InputRows, InputRows],
) -> Stage:
    """Returns a stage on training and validation pixels, at the resolution that they have."""
    train, valid = pixels

    def prepare(_: Callable[[], None]) -> PreparedStage:
        fused_model = with_fused_batch_norm(model, train.shape[1:])
        compile_for_training(fused_model, options, data.train.labels)
        return PreparedStage(fused_model, Batches.from_data(train, data, options), valid)

    return Stage(name, options, prepare)


#: From 66 pixels, the last feature map is at least 2 x 2, at half resolution too.
BOATS = Network(min_size=66, build=build_boats, stages=_stages)
