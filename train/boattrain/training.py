"""Trains a network on a folder of labelled images and saves its best epoch."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from boatinfer.analysis.evaluation import Confidence, Evaluation
from boatinfer.analysis.metrics import scores
from boatinfer.dataset.class_folders import (
    TRAIN,
    VALID,
    LabelledFiles,
    class_folders,
    find_images,
    require_every_class,
)
from boatinfer.dataset.splits import parse_share
from boatinfer.errors import ImageError, RunInterruptedError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.golden import MAX_GOLDEN_IMAGES, golden_images, make_golden
from boatinfer.progress import progress_bar
from boatinfer.signals import Stop, stop_on_signals
from boatinfer.text import counted
from boattrain.backend import load_keras
from boattrain.config import to_toml
from boattrain.fitting.array_cache import cache_folder
from boattrain.fitting.checkpoint import Checkpoint, State
from boattrain.fitting.loop import Fitted, Fitting, predict
from boattrain.fitting.losses import cross_entropy
from boattrain.fitting.pixels import Data, Split, fingerprint, load_images
from boattrain.networks.base import CNN, Network
from boattrain.networks.boats import BOATS
from boattrain.options import BoatsOptions, CnnOptions, ResnetOptions, TrainOptions
from boattrain.saving import ModelFiles, Trained, describe, model_files, save

__all__ = ["TrainingResult", "train", "train_boats", "train_cnn", "train_resnet"]

#: Options that may change when a training is resumed.
_FREE = {"cache", "config", "data", "epochs", "force", "output", "patience"} | {
    "resume",
    "tensorboard",
}


@dataclass(frozen=True)
class TrainingResult:
    """What a training gave.

    Attributes:
        files: what was written.
        fitted: every epoch's figures, the best epoch, and whether it was interrupted.
        evaluation: what the saved model says of valid.
    """

    files: ModelFiles
    fitted: Fitted
    evaluation: Evaluation


def train_cnn(options: CnnOptions) -> TrainingResult:
    """Trains the small convolutional network; as `train`."""
    return train(options, CNN, "train cnn")


def train_boats(options: BoatsOptions) -> TrainingResult:
    """Trains the network of the built-in model; as `train`."""
    return train(options, BOATS, "train boats")


def train_resnet(options: ResnetOptions) -> TrainingResult:
    """Trains ResNet50 with a new head; as `train`."""
    from boattrain.networks.resnet import Resnet

    return train(options, Resnet(options).network, "train resnet")


def train(options: TrainOptions, network: Network, command: str) -> TrainingResult:
    """Trains a network and writes its best epoch.

    Progress, and a line for each image that has to be left out, go to standard error. A
    SIGINT, SIGTERM or SIGHUP ends the training early: the best epoch so far is written, but never
    over a model that was there before the training began.

    Args:
        options: what to train on, how, and where to write.
        network: what to train.
        command: the command that does this, for people.

    Returns:
        The saved model's figures and files.

    Raises:
        UsageError: the data or an option cannot be used; nothing was written.
        OutputError: the files could not be written.
        RunInterruptedError: a signal came before the first epoch was done, or a model that
            was there before is left as it is.
        ModuleNotFoundError: a library of the extra ``train`` is not installed.
    """
    spec = image_spec(options.size, network.smallest)
    class_folders(options.data)  # a mistyped name is told before a file that is in the way
    _require_choice(options)
    files = model_files(options.output, options.force or options.resume)
    found = find_images(options.data, parse_share(options.valid, "--valid"))
    _load_libraries(options)
    with stop_on_signals() as stop:
        data = load_data(*found, options, spec, stop)
        golden = _golden_images(data.valid, spec)
        checkpoint = _checkpoint(files, options, data)
        state = checkpoint.load() if options.resume else State(replaces=files.model.exists())
        model, fitted = fit(options, network, data, checkpoint, stop, state=state)
        if fitted.signal_number and state.replaces:
            raise RunInterruptedError(
                f"interrupted after epoch {len(fitted.history)}; {files.model} is still the model "
                f"that was there before, the best so far is in {checkpoint.folder}, and the same "
                "command with --resume continues.",
                fitted.signal_number,
            )
        model = network.finish(model, data)
        evaluation, metrics = evaluate(model, data.valid, data.classes, options.batch_size)
        trained = Trained(
            model=model,
            card=describe(files.model.stem, data, model, network.features, metrics),
            golden=make_golden(golden, spec, model.predict_on_batch),
            fitted=fitted,
            evaluation=evaluation,
            settings=to_toml(options, command),
        )
        save(files, trained)
    if not fitted.signal_number:
        checkpoint.clear()
    return TrainingResult(files, fitted, evaluation)


def fit(
    options: TrainOptions,
    network: Network,
    data: Data,
    checkpoint: Checkpoint,
    stop: Stop,
    *,
    state: State,
) -> tuple[Any, Fitted]:
    """Builds a network and fits it, from a new state or that of the checkpoint.

    Returns:
        The ``keras.Model`` with the weights of its best epoch, and how that came about.
    """
    keras = load_keras()
    keras.utils.set_random_seed(options.seed)
    model = network.build(data.spec, len(data.classes))
    stages = network.stages(model, data, options)
    fitting = Fitting(model, data.valid.labels, options.best, checkpoint, stop)
    return model, fitting.run(stages, state)


def evaluate(
    model: Any, valid: Split, classes: list[str], batch_size: int
) -> tuple[Evaluation, dict[str, float]]:
    """Says how good a network is.

    Returns:
        Its predictions of valid, and the figures of its card: accuracy, macro-F1, calibration
        error, and the mean cross-entropy as ``loss``.
    """
    probabilities = predict(model, valid.pixels, batch_size)
    sure = Confidence.of(probabilities, valid.labels)
    names = np.array(list(valid.digests), object)
    evaluation = Evaluation(classes, names, valid.labels, probabilities.argmax(axis=1), sure)
    loss = cross_entropy(valid.labels, probabilities)
    return evaluation, {**scores(valid.labels, probabilities)._asdict(), "loss": loss}


def image_spec(size: str, smallest: int, option: str = "--size") -> ImageSpec:
    """Reads a size such as ``30x100``.

    Args:
        size: HEIGHTxWIDTH, pixels.
        smallest: the least of both.
        option: where it was given, for the error.

    Raises:
        UsageError: it is none, or too small for the network.
    """
    numbers = re.fullmatch(r"(\d+)x(\d+)", size)
    if not numbers:
        raise UsageError(f"{option} {size} is not HEIGHTxWIDTH in pixels; write it like 30x100.")
    height, width = map(int, numbers.groups())
    if min(height, width) < smallest:
        raise UsageError(
            f"{option} {size} is too small for the network; it needs at least {smallest} pixels "
            "in each direction."
        )
    return ImageSpec(height=height, width=width)


def load_data(
    train: LabelledFiles, valid: LabelledFiles, options: TrainOptions, spec: ImageSpec, stop: Stop
) -> Data:
    """Reads the images of train and valid.

    Raises:
        UsageError: a class has no readable image.
        RunInterruptedError: a signal came.
    """
    return Data(
        classes=train.classes,
        spec=spec,
        train=_load(TRAIN, train, options, spec, stop),
        valid=_load(VALID, valid, options, spec, stop),
    )


def _load(
    name: str, files: LabelledFiles, options: TrainOptions, spec: ImageSpec, stop: Stop
) -> Split:
    cache = functools.partial(cache_folder, options.data, options.cache)
    with progress_bar(f"reading {name}", len(files.paths), "files") as advance:

        def done(count: int) -> None:
            advance(count)
            if stop.signal_number:
                raise RunInterruptedError(
                    "interrupted before the first epoch; nothing was written.", stop.signal_number
                )

        split = load_images(files, spec, cache, name=name, done=done)
    for missed, reason in split.left_out.items():
        typer.echo(f"left out {missed}: {reason}", err=True)
    typer.echo(
        f"{files.folder}: {counted(len(split.labels), 'image')} in {len(files.classes)} classes, "
        f"{len(split.left_out)} left out",
        err=True,
    )
    require_every_class(files.folder, files.classes, split.labels.tolist(), "readable ")
    return split


def _load_libraries(options: TrainOptions) -> None:
    """Loads what only the end needs too, so that a missing library costs nobody a training."""
    for library in ("matplotlib.figure", "platformdirs", "tomli_w"):
        importlib.import_module(library)
    load_keras()
    if options.tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard needs tensorboard, which is not installed; bring it with: "
            "pip install tensorboard"
        )


def _checkpoint(files: ModelFiles, options: TrainOptions, data: Data) -> Checkpoint:
    settings = {k: v for k, v in dataclasses.asdict(options).items() if k not in _FREE}
    settings["data"] = fingerprint(data.train, data.valid)
    checkpoint = Checkpoint(_checkpoint_folder(files.model), settings)
    if checkpoint.exists and not options.resume:
        typer.echo(
            f"{checkpoint.folder} holds an interrupted training, which --resume would continue; "
            "this one begins anew",
            err=True,
        )
    return checkpoint


def _require_choice(options: TrainOptions) -> None:
    """Refuses to resume what is not there, and to pass over what could be resumed."""
    checkpoint = Checkpoint(_checkpoint_folder(options.output), {})
    if options.resume:
        checkpoint.require()
    elif checkpoint.exists and options.output.exists() and not options.force:
        raise UsageError(
            f"{options.output} is of an interrupted training; --resume continues it, and --force "
            "begins anew."
        )


def _checkpoint_folder(model: Path) -> Path:
    return model.with_suffix(".checkpoint")


def _golden_images(valid: Split, spec: ImageSpec) -> list[bytes]:
    """Takes the first image of each class, before the long work: files may go away."""
    _, first = np.unique(valid.labels, return_index=True)
    paths = [valid.paths[row] for row in first[:MAX_GOLDEN_IMAGES].tolist()]
    golden = []
    for path, made in zip(paths, golden_images(paths, spec), strict=True):
        if isinstance(made, ImageError):
            raise UsageError(
                f"{path} cannot be read for the model's self-test: {made}; if the file has just "
                "been changed, run again, else take it out of the data."
            )
        golden.append(made)
    return golden
