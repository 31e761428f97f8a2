"""ResNet50 with a new head: first the head alone, then more of it."""

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
from boattrain.fitting.array_cache import Array, cache_folder, kept
from boattrain.fitting.batches import Batches
from boattrain.fitting.loop import Part, Stage, outputs_of
from boattrain.fitting.losses import compile_for_training
from boattrain.fitting.memory import require_memory
from boattrain.fitting.pixels import Data, Split
from boattrain.networks.base import FEATURES, INPUT, PROBABILITIES, Network
from boattrain.networks.imagenet import NO_TOP, fetch, resnet50
from boattrain.options import ResnetOptions, TrainOptions

__all__ = ["Resnet"]

#: What ResNet50 shrinks an image by, and so the fewest pixels that leave it a value.
_SMALLEST = 32

#: The layer that gives the map [N, H/32, W/32, 2048] which the head sees.
_LAST = "conv5_block3_out"


class Resnet:
    """Builds and trains the network of `ResnetOptions`.

    Args:
        options: weights, pooling, and how much is trained end to end.

    Raises:
        UsageError: ``--unfreeze`` is no number of layers, or there is no file of weights.
    """

    def __init__(self, options: ResnetOptions) -> None:
        weights = options.weights
        if weights not in {"imagenet", "none"} and not Path(weights).is_file():
            raise UsageError(
                f"--weights {weights}: there is no such file; give imagenet, none or a file."
            )
        self._options = options
        self._unfrozen = _number_of_layers(options.unfreeze)

    @property
    def network(self) -> Network:
        """The network, for `boattrain.training.train`."""
        return Network(
            smallest=_SMALLEST,
            build=self.build,
            features=FEATURES if self._options.pooling == "avg" else _LAST,
            stages=self.stages,
        )

    def build(self, spec: ImageSpec, classes: int) -> Any:
        """Builds base and head; see `Network`."""
        keras = load_keras()
        layers = keras.layers
        image = keras.Input((spec.height, spec.width, 3), dtype="uint8", name=INPUT)
        base = resnet50(image, self._weights(), top=False)
        if self._options.pooling == "avg":
            seen = layers.GlobalAveragePooling2D(name=FEATURES)(base.output)
        else:
            seen = layers.Flatten()(base.output)
        head = layers.Dense(classes, activation="softmax", name=PROBABILITIES)
        self._base, self._seen, self._head = base, keras.Model(image, seen), head
        return keras.Model(image, head(seen), name="resnet")

    def stages(self, model: Any, data: Data, options: TrainOptions) -> Sequence[Stage]:
        """Trains the head, then the last layers with a small rate; see `Network`."""
        head = Stage("head", options, lambda check: self._train_head(model, data, check))
        if not self._unfrozen:
            return [head]
        gently = dataclasses.replace(
            options,
            optimizer="sgd",
            learning_rate=self._options.unfreeze_rate,
            epochs=self._options.unfreeze_epochs,
        )
        self._unfreeze()
        require_memory(model, options.batch_size)  # before the head has been trained for nothing
        return [head, Stage("whole", gently, lambda _: self._train_whole(model, data, gently))]

    def _train_head(self, model: Any, data: Data, check: Callable[[], None]) -> Part:
        """Prepares the head on features, which are computed once if images stay as they are."""
        for layer in self._base.layers:
            layer.trainable = False
        options = self._options
        if options.augments or options.mixup:
            compile_for_training(model, options, data.train.labels)
            return Part(model, Batches.of(data.train.pixels, data, options), data.valid.pixels)
        keras = load_keras()
        features = keras.Input(self._seen.output_shape[1:])
        head = keras.Model(features, self._head(features))
        compile_for_training(head, options, data.train.labels)
        train = self._features(TRAIN, data.train, data.spec, check)
        valid = self._features(VALID, data.valid, data.spec, check)
        return Part(head, Batches.of(train, data, options), valid)

    def _train_whole(self, model: Any, data: Data, options: TrainOptions) -> Part:
        self._unfreeze()
        compile_for_training(model, options, data.train.labels)
        return Part(model, Batches.of(data.train.pixels, data, options), data.valid.pixels)

    def _unfreeze(self) -> None:
        """Lets layers learn, but never their norms: batches are too small for statistics."""
        keras = load_keras()
        layers = self._base.layers
        for place, layer in enumerate(layers):
            chosen = place >= len(layers) - self._unfrozen
            is_norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = chosen and not is_norm

    def _features(
        self, name: str, split: Split, spec: ImageSpec, check: Callable[[], None]
    ) -> Array:
        """Gives what the head sees of each image, float32 [N, D]."""

        def make(file: BinaryIO) -> list[str]:
            with progress_bar(f"features of {name}", len(split.pixels), "files") as advance:
                for rows in outputs_of(self._seen, split.pixels, self._options.batch_size):
                    file.write(np.ascontiguousarray(rows, np.float32).data)
                    advance(len(rows))
                    check()
            return []

        features, _ = kept(
            cache_folder(self._options.data, self._options.cache),
            f"{name}-{spec.height}x{spec.width}-resnet50-{self._options.pooling}",
            self._key(split, spec),
            dtype=np.float32,
            shape=self._seen.output_shape[1:],
            most=len(split.pixels),
            make=make,
        )
        return features

    def _key(self, split: Split, spec: ImageSpec) -> str:
        """Identifies features by images, size, weights and library."""
        key = xxhash.xxh3_128(msgspec.json.encode((load_keras().__version__, spec)))
        for name, digest in split.digests.items():
            key.update(f"{name}\0{digest}\0".encode())
        for weight in self._seen.get_weights():
            key.update(np.ascontiguousarray(weight).data)
        return key.hexdigest()

    def _weights(self) -> Path | None:
        """Finds the file of weights."""
        weights = self._options.weights
        if weights == "none":
            return None
        if weights == "imagenet":
            return fetch(NO_TOP, ", or give --weights FILE or --weights none")
        return Path(weights)


def _number_of_layers(text: str) -> int:
    """Reads ``--unfreeze``; all is more than there are."""
    if text in {"none", "all"}:
        return 0 if text == "none" else 10**6
    if not text.isdecimal() or not int(text):
        raise UsageError(f"--unfreeze {text}: give a number of layers, from 1, or all or none.")
    return int(text)
