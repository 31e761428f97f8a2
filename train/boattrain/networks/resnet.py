"""ResNet50 with a new head: trains the head first, then fine-tunes the last layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import xxhash

from boatinfer.dataset.class_folders import TRAIN, VALID
from boatinfer.errors import UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.progress import progress_bar
from boattrain.backend import load_keras
from boattrain.fitting.array_cache import Array, cache_folder, cached_array
from boattrain.fitting.batches import Batches
from boattrain.fitting.loop import PreparedStage, Stage, iterate_outputs
from boattrain.fitting.losses import compile_for_training
from boattrain.fitting.memory import require_memory
from boattrain.fitting.pixels import Split, TrainingData
from boattrain.networks.base import FEATURES, INPUT, PROBABILITIES, Network
from boattrain.networks.imagenet import RESNET50_NO_TOP, build_resnet50, fetch
from boattrain.options import ResnetOptions, TrainOptions

__all__ = ["Resnet"]

#: Downsampling factor of ResNet50, and so its smallest input size.
_MIN_SIZE = 32

#: Layer of the last feature map, [N, H/32, W/32, 2048].
_LAST_LAYER = "conv5_block3_out"


class Resnet:
    """Builds and trains the network of `ResnetOptions`.

    Args:
        options: initial weights, pooling, and number of layers to fine-tune.

    Raises:
        UsageError: ``--unfreeze`` is not valid, or the weights file does not exist.
    """

    def __init__(self, options: ResnetOptions) -> None:
        weights = options.weights
        if weights not in {"imagenet", "none"} and not Path(weights).is_file():
            raise UsageError(
                f"--weights {weights}: there is no such file; give imagenet, none or a file."
            )
        self._options = options
        self._unfreeze_count = _parse_layer_count(options.unfreeze)

    @property
    def network(self) -> Network:
        """The network for `boattrain.training.train`."""
        return Network(
            min_size=_MIN_SIZE,
            build=self.build,
            features=FEATURES if self._options.pooling == "avg" else _LAST_LAYER,
            stages=self.stages,
        )

    def build(self, spec: ImageSpec, classes: int) -> Any:
        """Builds ResNet50 and the head; see `Network`."""
        keras = load_keras()
        layers = keras.layers
        image = keras.Input((spec.height, spec.width, 3), dtype="uint8", name=INPUT)
        base = build_resnet50(image, self._weights_file(), top=False)
        if self._options.pooling == "avg":
            features = layers.GlobalAveragePooling2D(name=FEATURES)(base.output)
        else:
            features = layers.Flatten()(base.output)
        head = layers.Dense(classes, activation="softmax", name=PROBABILITIES)
        self._base, self._extractor, self._head = base, keras.Model(image, features), head
        return keras.Model(image, head(features), name="resnet")

    def stages(self, model: Any, data: TrainingData, options: TrainOptions) -> Sequence[Stage]:
        """Returns the stages of the head and of fine-tuning; see `Network`."""
        head = Stage("head", options, lambda check: self._prepare_head(model, data, check))
        if not self._unfreeze_count:
            return [head]
        fine_tuning = dataclasses.replace(
            options,
            optimizer="sgd",
            learning_rate=self._options.unfreeze_rate,
            epochs=self._options.unfreeze_epochs,
        )
        self._unfreeze_layers()
        require_memory(model, options.batch_size)  # fail before the head is trained
        return [
            head,
            Stage(
                "whole", fine_tuning, lambda _: self._prepare_fine_tuning(model, data, fine_tuning)
            ),
        ]

    def _prepare_head(
        self, model: Any, data: TrainingData, check: Callable[[], None]
    ) -> PreparedStage:
        """Prepares training of the head, on cached features if the images are not augmented."""
        for layer in self._base.layers:
            layer.trainable = False
        options = self._options
        if options.has_augmentation or options.mixup:
            compile_for_training(model, options, data.train.labels)
            return PreparedStage(
                model, Batches.from_data(data.train.pixels, data, options), data.valid.pixels
            )
        keras = load_keras()
        features = keras.Input(self._extractor.output_shape[1:])
        head = keras.Model(features, self._head(features))
        compile_for_training(head, options, data.train.labels)
        train = self._features(TRAIN, data.train, data.spec, check)
        valid = self._features(VALID, data.valid, data.spec, check)
        return PreparedStage(head, Batches.from_data(train, data, options), valid)

    def _prepare_fine_tuning(
        self, model: Any, data: TrainingData, options: TrainOptions
    ) -> PreparedStage:
        self._unfreeze_layers()
        compile_for_training(model, options, data.train.labels)
        return PreparedStage(
            model, Batches.from_data(data.train.pixels, data, options), data.valid.pixels
        )

    def _unfreeze_layers(self) -> None:
        """Makes the last layers trainable, but not batch normalisation: batches are too small."""
        keras = load_keras()
        layers = self._base.layers
        for index, layer in enumerate(layers):
            unfreeze = index >= len(layers) - self._unfreeze_count
            is_norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = unfreeze and not is_norm

    def _features(
        self, name: str, split: Split, spec: ImageSpec, check: Callable[[], None]
    ) -> Array:
        """Returns the features of each image, float32 [N, D], from the cache if they are there."""

        def write_rows(file: BinaryIO) -> list[str]:
            with progress_bar(f"features of {name}", len(split.pixels), "files") as advance:
                for rows in iterate_outputs(
                    self._extractor, split.pixels, self._options.batch_size
                ):
                    file.write(np.ascontiguousarray(rows, np.float32).data)
                    advance(len(rows))
                    check()
            return []

        features, _ = cached_array(
            cache_folder(self._options.data, self._options.cache),
            f"{name}-{spec.height}x{spec.width}-resnet50-{self._options.pooling}",
            self._key(split, spec),
            dtype=np.float32,
            shape=self._extractor.output_shape[1:],
            max_rows=len(split.pixels),
            write_rows=write_rows,
        )
        return features

    def _key(self, split: Split, spec: ImageSpec) -> str:
        """Computes a key of all that the features depend on: images, size, weights and Keras."""
        hasher = xxhash.xxh3_128(msgspec.json.encode((load_keras().__version__, spec)))
        for name, digest in split.digests.items():
            hasher.update(f"{name}\0{digest}\0".encode())
        for weight in self._extractor.get_weights():
            hasher.update(np.ascontiguousarray(weight).data)
        return hasher.hexdigest()

    def _weights_file(self) -> Path | None:
        """Returns the path of the weights file."""
        weights = self._options.weights
        if weights == "none":
            return None
        if weights == "imagenet":
            return fetch(RESNET50_NO_TOP, ", or give --weights FILE or --weights none")
        return Path(weights)


def _parse_layer_count(text: str) -> int:
    """Parses ``--unfreeze``; for ``all`` it returns more layers than there are."""
    if text in {"none", "all"}:
        return 0 if text == "none" else 10**6
    if not text.isdecimal() or not int(text):
        raise UsageError(f"--unfreeze {text}: give a number of layers from 1, or all, or none.")
    return int(text)
