"""Trains a network on a folder of labelled images and saves the model of its best epoch."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boatinfer.analysis.evaluation import Confidence, Evaluation
from boatinfer.analysis.metrics import scores
from boatinfer.dataset.class_folders import (
    TRAIN,
    VALID,
    LabelledFiles,
    class_folders,
    require_every_class,
    require_images,
)
from boatinfer.dataset.labelled_images import find_images
from boatinfer.dataset.splits import parse_share
from boatinfer.errors import ImageError, RunInterruptedError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.golden import MAX_GOLDEN_IMAGES, golden_images, make_golden
from boatinfer.progress import progress_bar
from boatinfer.signals import Stop, stop_on_signals
from boatinfer.text import counted, joined
from boattrain.backend import load_keras
from boattrain.config import to_toml
from boattrain.fitting.array_cache import cache_folder
from boattrain.fitting.checkpoint import Checkpoint, TrainingState
from boattrain.fitting.loop import FitResult, Fitter, predict
from boattrain.fitting.losses import cross_entropy
from boattrain.fitting.pixels import Split, TrainingData, fingerprint, load_images
from boattrain.fitting.start import require_start, start_from
from boattrain.fitting.temperature import apply_temperature, fit_temperature
from boattrain.networks.base import CNN, Network
from boattrain.networks.boats import BOATS
from boattrain.options import BoatsOptions, CnnOptions, ResnetOptions, TrainOptions
from boattrain.saving import ModelFiles, TrainedModel, make_card, model_files, save_model

__all__ = ["TrainingResult", "train", "train_boats", "train_cnn", "train_resnet"]

_log = logging.getLogger(__name__)

#: Options that may be changed when a training is resumed.
_CHANGEABLE_OPTIONS = {"cache", "config", "data", "epochs", "force", "output", "patience"} | {
    "from_model",
    "resume",
    "table",
    "tensorboard",
}


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        files: the files written.
        fit: history, best epoch, and whether the training was interrupted.
        evaluation: evaluation of the saved model on the validation images.
        group_by: what kept valid apart from train; empty for nothing.
    """

    files: ModelFiles
    fit: FitResult
    evaluation: Evaluation
    group_by: str = ""


def train_cnn(options: CnnOptions) -> TrainingResult:
    """Trains the small convolutional network; see `train`."""
    return train(options, CNN, "train cnn")


def train_boats(options: BoatsOptions) -> TrainingResult:
    """Trains the architecture of the built-in model; see `train`."""
    return train(options, BOATS, "train boats")


def train_resnet(options: ResnetOptions) -> TrainingResult:
    """Trains ResNet50 with a new head; see `train`."""
    from boattrain.networks.resnet import Resnet

    return train(options, Resnet(options).network, "train resnet")


def train(options: TrainOptions, network: Network, command: str) -> TrainingResult:
    """Trains a network and saves the model of its best epoch.

    Progress goes to standard error; unreadable images are logged. SIGINT, SIGTERM or SIGHUP
    stops the training early: the best model so far is saved, unless it would replace a model
    that existed before the training.

    Args:
        options: data, training options and output file.
        network: the network to train.
        command: the command of this training, for the TOML file of the options.

    Returns:
        Metrics and files of the saved model.

    Raises:
        UsageError: the data or an option cannot be used; nothing was written.
        OutputError: the files could not be written.
        RunInterruptedError: a signal was received before the end of the first epoch, or the
            saved model would replace an older one.
        ModuleNotFoundError: a library of the extra ``train`` is not installed.
    """
    spec = image_spec(options.size, network.min_size)
    class_folders(options.data)  # report a wrong folder before an existing output file
    _check_resume(options)
    files = model_files(options.output, options.force or options.resume)
    train_files, valid_files = find_images(
        options.data,
        parse_share(options.valid, "--valid"),
        table=options.table,
        group_by=options.group_by,
    )
    if options.from_model is not None:
        require_start(train_files.classes, options.from_model, drop=options.drop_classes)
    _import_libraries(options)
    with stop_on_signals() as stop:
        data = load_data(train_files, valid_files, options, spec, stop)
        golden = _read_golden_images(data.valid, spec)
        checkpoint = _open_checkpoint(files, options, data)
        state = (
            checkpoint.load()
            if options.resume
            else TrainingState(replaces_model=files.model.exists())
        )
        model, fit_result = fit(options, network, data, checkpoint, stop, state=state)
        if fit_result.signal_number and state.replaces_model:
            raise RunInterruptedError(
                f"interrupted after epoch {len(fit_result.history)}; {files.model} is still the "
                f"earlier model; the best weights so far are in {checkpoint.folder}, and the same "
                "command with --resume continues.",
                fit_result.signal_number,
            )
        temperature = calibrate(model, data.valid, options.batch_size)
        evaluation, metrics = evaluate(model, data.valid, data.classes, options.batch_size)
        trained_model = TrainedModel(
            model=model,
            card=make_card(
                files.model.stem, data, model, network.features, metrics, temperature=temperature
            ),
            golden=make_golden(golden, spec, model.predict_on_batch),
            fit=fit_result,
            evaluation=evaluation,
            settings=to_toml(options, command),
            group_by=valid_files.group_by,
        )
        save_model(files, trained_model)
    if not fit_result.signal_number:
        checkpoint.clear()
    return TrainingResult(files, fit_result, evaluation, valid_files.group_by)


def fit(
    options: TrainOptions,
    network: Network,
    data: TrainingData,
    checkpoint: Checkpoint,
    stop: Stop,
    *,
    state: TrainingState,
) -> tuple[Any, FitResult]:
    """Builds and trains a network, from the start or from the state of a checkpoint.

    Returns:
        The ``keras.Model`` with the weights of its best epoch, and the history.
    """
    keras = load_keras()
    keras.utils.set_random_seed(options.seed)
    model = network.build(data.spec, len(data.classes))
    if options.from_model is not None:
        start_from(model, data.classes, options.from_model, drop=options.drop_classes)
    stages = network.stages(model, data, options)
    fitter = Fitter(model, data.valid.labels, options.best, checkpoint, stop)
    return model, fitter.run(stages, state)


def calibrate(model: Any, valid: Split, batch_size: int) -> float:
    """Fits the temperature of a network on the validation images, applies it and returns it."""
    temperature = fit_temperature(predict(model, valid.pixels, batch_size), valid.labels)
    apply_temperature(model, temperature)
    return temperature


def evaluate(
    model: Any, valid: Split, classes: list[str], batch_size: int
) -> tuple[Evaluation, dict[str, float]]:
    """Evaluates a network on the validation images.

    Returns:
        The evaluation, and the metrics for the card: accuracy, macro-F1, calibration error, and
        the mean cross-entropy as ``loss``.
    """
    probabilities = predict(model, valid.pixels, batch_size)
    confidence = Confidence.from_probabilities(probabilities, valid.labels)
    names = np.array(list(valid.digests), object)
    evaluation = Evaluation(classes, names, valid.labels, probabilities.argmax(axis=1), confidence)
    loss = cross_entropy(valid.labels, probabilities)
    return evaluation, {**scores(valid.labels, probabilities)._asdict(), "loss": loss}


def image_spec(size: str, min_size: int, option: str = "--size") -> ImageSpec:
    """Parses an input size such as ``30x100``.

    Args:
        size: HEIGHTxWIDTH, in pixels.
        min_size: smallest height and width.
        option: name of the option, for the error message.

    Raises:
        UsageError: the size is not valid, or too small for the network.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", size)
    if not match:
        raise UsageError(f"{option} {size} is not HEIGHTxWIDTH in pixels; write it like 30x100.")
    height, width = map(int, match.groups())
    if min(height, width) < min_size:
        raise UsageError(
            f"{option} {size} is too small for the network; it needs at least {min_size} pixels "
            "in each direction."
        )
    return ImageSpec(height=height, width=width)


def load_data(
    train: LabelledFiles, valid: LabelledFiles, options: TrainOptions, spec: ImageSpec, stop: Stop
) -> TrainingData:
    """Reads the training and validation images.

    Raises:
        UsageError: a class has no readable image.
        RunInterruptedError: a signal was received.
    """
    return TrainingData(
        classes=train.classes,
        spec=spec,
        train=_load_split(TRAIN, train, options, spec, stop),
        valid=_load_split(VALID, valid, options, spec, stop),
    )


def _load_split(
    name: str, files: LabelledFiles, options: TrainOptions, spec: ImageSpec, stop: Stop
) -> Split:
    cache = functools.partial(cache_folder, options.data, options.cache)
    with progress_bar(f"reading {name}", len(files.paths), "files") as advance:

        def advance_or_stop(count: int) -> None:
            advance(count)
            if stop.signal_number:
                raise RunInterruptedError(
                    "interrupted before the first epoch; nothing was written.", stop.signal_number
                )

        split = load_images(files, spec, cache, name=name, advance=advance_or_stop)
    for path, reason in split.unreadable.items():
        _log.warning("left out %s: %s", path, reason)
    _log.info(
        "%s: %s in %d classes, %d left out",
        files.folder,
        counted(len(split.labels), "image"),
        len(files.classes),
        len(split.unreadable),
    )
    labels = split.labels.tolist()
    if name == TRAIN:
        require_every_class(files.folder, files.classes, labels, "readable ")
    else:
        require_images(files.folder, labels, "readable ")
        absent = [files.classes[i] for i in sorted(set(range(len(files.classes))) - set(labels))]
        if absent:
            _log.warning("%s has no image of %s: no figures for it", files.folder, joined(absent))
    return split


def _import_libraries(options: TrainOptions) -> None:
    """Imports also the libraries for saving, so that a missing one is reported at the start."""
    for library in ("matplotlib.figure", "platformdirs", "tomli_w"):
        importlib.import_module(library)
    _log.info("loading TensorFlow")
    load_keras()
    if options.tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard needs tensorboard, which is not installed; install it with: "
            "pip install tensorboard"
        )


def _open_checkpoint(files: ModelFiles, options: TrainOptions, data: TrainingData) -> Checkpoint:
    settings = {
        k: v for k, v in dataclasses.asdict(options).items() if k not in _CHANGEABLE_OPTIONS
    }
    settings["data"] = fingerprint(data.train, data.valid)
    checkpoint = Checkpoint(_checkpoint_folder(files.model), settings)
    if checkpoint.exists and not options.resume:
        _log.warning(
            "%s holds an interrupted training, which --resume would continue; starting over",
            checkpoint.folder,
        )
    return checkpoint


def _check_resume(options: TrainOptions) -> None:
    """Checks that there is a checkpoint to resume, or none that would be lost by accident."""
    checkpoint = Checkpoint(_checkpoint_folder(options.output), {})
    if options.resume:
        checkpoint.require()
    elif checkpoint.exists and options.output.exists() and not options.force:
        raise UsageError(
            f"{options.output} is of an interrupted training; continue it with --resume, or start "
            "over with --force."
        )


def _checkpoint_folder(model: Path) -> Path:
    return model.with_suffix(".checkpoint")


def _read_golden_images(valid: Split, spec: ImageSpec) -> list[bytes]:
    """Reads the first image of each class, before the long work, as files may be deleted."""
    _, first_rows = np.unique(valid.labels, return_index=True)
    paths = [valid.paths[row] for row in first_rows[:MAX_GOLDEN_IMAGES].tolist()]
    golden = []
    for path, image in zip(paths, golden_images(paths, spec), strict=True):
        if isinstance(image, ImageError):
            raise UsageError(
                f"{path} cannot be read for the model's self-test: {image}; if the file has just "
                "been changed, run again, else remove it from the data."
            )
        golden.append(image)
    return golden
