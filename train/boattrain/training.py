"""Fits a network to a folder of labelled images and keeps its best epoch."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from boatinfer.card import ImageSpec
from boatinfer.errors import UsageError
from boatinfer.golden import MOST_IMAGES, golden_image_bytes, make_golden
from boattrain import networks
from boattrain.backend import load_keras
from boattrain.cache import cache_folder
from boattrain.data import TRAIN, VALID, Files, find_images, require_every_class
from boattrain.history import Epoch, best_of
from boattrain.options import CnnOptions
from boattrain.pixels import Split, load_images
from boattrain.progress import TrainingProgress
from boattrain.saving import ModelFiles, describe, model_files, save
from boattrain.splits import parse_share

__all__ = ["TrainingResult", "train_cnn"]


@dataclass(frozen=True)
class TrainingResult:
    """What a training gave.

    Attributes:
        files: what was written.
        classes: names, in output order.
        history: every epoch's figures.
        best: the epoch whose weights were saved.
        metrics: the saved model's ``accuracy``, ``macro_f1`` and ``loss`` on valid.
        truth: int64 [N], labels of the valid images.
        predicted: int64 [N], what the saved model says of them.
    """

    files: ModelFiles
    classes: list[str]
    history: list[Epoch]
    best: Epoch
    metrics: dict[str, float]
    truth: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]


def train_cnn(options: CnnOptions) -> TrainingResult:
    """Trains the small convolutional network and writes its best epoch.

    Progress, and a line for each image that has to be left out, go to standard error.

    Args:
        options: what to train on, how, and where to write.

    Returns:
        The saved model's figures and files.

    Raises:
        UsageError: the data or an option cannot be used; nothing was written.
        OutputError: the files could not be written.
        ModuleNotFoundError: a library of the extra ``train`` is not installed.
    """
    spec = _image_spec(options.size)
    files = model_files(options.output, options.force)
    train_files, valid_files = find_images(options.data, parse_share(options.valid, "--valid"))
    keras = _load_libraries()
    cache = functools.partial(cache_folder, options.data, options.cache)
    train, valid = _load(TRAIN, train_files, spec, cache), _load(VALID, valid_files, spec, cache)
    classes = train_files.classes
    samples = _golden_images(valid, spec)

    keras.utils.set_random_seed(options.seed)
    model = networks.cnn(spec.height, spec.width, len(classes))
    history = _fit(keras, model, train, valid, options)
    best = best_of(history)
    predicted = model.predict(valid.pixels, verbose=0).argmax(axis=1)
    metrics = _metrics(valid.labels, predicted, best)

    card = describe(
        files.model.stem,
        classes=classes,
        spec=spec,
        model=model,
        splits={TRAIN: train, VALID: valid},
        metrics=metrics,
    )
    golden = make_golden(samples, spec, lambda pixels: model.predict(pixels, verbose=0))
    save(files, model, card, golden, history)
    return TrainingResult(files, classes, history, best, metrics, valid.labels, predicted)


def _image_spec(size: str) -> ImageSpec:
    numbers = re.fullmatch(r"(\d+)x(\d+)", size)
    if not numbers:
        raise UsageError(f"--size {size} is not HEIGHTxWIDTH in pixels; write it like 30x100.")
    height, width = map(int, numbers.groups())
    if min(height, width) < networks.SMALLEST:
        raise UsageError(
            f"--size {size} is too small for the network; it needs at least "
            f"{networks.SMALLEST} pixels in each direction."
        )
    return ImageSpec(height=height, width=width)


def _load_libraries() -> Any:
    """Loads what only the end needs too, so that a missing library costs nobody a training."""
    import matplotlib.figure  # noqa: F401

    return load_keras()


def _load(name: str, files: Files, spec: ImageSpec, cache: Callable[[], Path]) -> Split:
    split = load_images(files, spec, cache, name=name)
    for missed, reason in split.left_out.items():
        typer.echo(f"left out {missed}: {reason}", err=True)
    typer.echo(
        f"{files.folder}: {len(split.labels)} images in {len(files.classes)} classes, "
        f"{len(split.left_out)} left out",
        err=True,
    )
    require_every_class(files.folder, files.classes, split.labels.tolist(), "readable ")
    return split


def _golden_images(valid: Split, spec: ImageSpec) -> list[bytes]:
    """Takes the first image of each class, before the long work: files may go away."""
    _, first = np.unique(valid.labels, return_index=True)
    rows = first[:MOST_IMAGES].tolist()
    return [golden_image_bytes(valid.paths[row].read_bytes(), spec) for row in rows]


def _fit(keras: Any, model: Any, train: Split, valid: Split, options: CnnOptions) -> list[Epoch]:
    """Fits the model and leaves it with the weights of its best epoch."""
    history: list[Epoch] = []
    weights: list[npt.NDArray[np.float32]] = []

    def end_epoch(index: int, logs: dict[str, float]) -> None:
        history.append(Epoch(index + 1, **logs))
        if best_of(history) is history[-1]:
            weights[:] = model.get_weights()
        progress.end_epoch(history[-1])

    batches = math.ceil(len(train.labels) / options.batch_size)
    with TrainingProgress(options.epochs, batches) as progress:
        model.fit(
            train.pixels,
            train.labels,
            validation_data=(valid.pixels, valid.labels),
            batch_size=options.batch_size,
            epochs=options.epochs,
            verbose=0,
            callbacks=keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda _, logs: progress.end_batch(**logs),
                on_epoch_end=end_epoch,
            ),
        )
    model.set_weights(weights)
    return history


def _metrics(
    truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], best: Epoch
) -> dict[str, float]:
    from sklearn.metrics import f1_score

    return {
        "accuracy": float(np.mean(predicted == truth)),
        "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
        "loss": best.val_loss,
    }
