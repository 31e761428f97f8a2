"""Measures validation accuracy by input size and amount of training data.

All state is in the output folder, so the same call continues an interrupted sweep, from the
last checkpoint of the interrupted training.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from boatinfer.dataset.labelled_images import find_images
from boatinfer.dataset.splits import parse_share
from boatinfer.errors import RunInterruptedError, UsageError
from boatinfer.signals import Stop, stop_on_signals
from boatinfer.storage.documents import DocumentError, read_document
from boatinfer.storage.files import atomic_write, require_new_folder, translate_write_errors
from boatinfer.text import counted
from boattrain.backend import load_keras
from boattrain.config import to_toml
from boattrain.fitting.checkpoint import Checkpoint, TrainingState
from boattrain.fitting.pixels import TrainingData, fingerprint
from boattrain.networks.base import CNN
from boattrain.sweep.options import SweepOptions
from boattrain.training import evaluate, fit, image_spec, load_data

__all__ = ["SweepPoint", "SweepResult", "stratified_subset", "sweep"]

_log = logging.getLogger(__name__)

#: Options that may be changed when a sweep is continued.
_CHANGEABLE_OPTIONS = {
    "data",
    "output",
    "size",
    "sizes",
    "fractions",
    "resume",
    "force",
    "cache",
    "tensorboard",
    "config",
}


class SweepPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Result of one training of a sweep; the columns of ``sweep.csv``.

    Attributes:
        size: input size HEIGHTxWIDTH, in pixels.
        fraction: fraction of the training images, above 0 and at most 1.
        images: number of training images.
        accuracy: validation accuracy, as a fraction of 1.
        accuracy_low: lower end of its 95 % confidence interval.
        accuracy_high: upper end of the interval.
        macro_f1: macro-F1 on the validation images, with its interval likewise.
        best_epoch: number of the epoch of these metrics.
        seconds: duration of the training, since it was last resumed.
    """

    size: str
    fraction: float
    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    best_epoch: int
    seconds: float


class _SweepDocument(msgspec.Struct, forbid_unknown_fields=True):
    """The content of ``sweep.json``: common settings, and the finished trainings."""

    settings: dict[str, Any]
    points: list[SweepPoint]


@dataclass(frozen=True)
class SweepResult:
    """The results in the output folder.

    Attributes:
        points: result of every training, sorted by size and fraction.
        files: the files written.
    """

    points: list[SweepPoint]
    files: list[Path]


def sweep(options: SweepOptions) -> SweepResult:
    """Trains the small convolutional network for every size and fraction.

    All trainings have the same validation images and, apart from size and fraction, the same
    options. The images of a smaller fraction are a subset of those of a larger one.

    Args:
        options: sizes, fractions, training options and output folder.

    Returns:
        All results in the folder, including those of earlier calls.

    Raises:
        UsageError: the data or an option cannot be used, or the folder has another sweep.
        OutputError: the folder cannot be written.
        RunInterruptedError: a signal was received; finished results are kept.
    """
    specs = [image_spec(size, CNN.min_size, "--sizes") for size in options.size_list]
    train_files, valid_files = find_images(
        options.data,
        parse_share(options.valid, "--valid"),
        table=options.table,
        group_by=options.group_by,
    )
    folder = _SweepFolder(options)
    import boattrain.fitting.plots  # noqa: F401 (reports a missing library at the start)

    load_keras()
    with stop_on_signals() as stop:
        try:
            for spec in specs:
                data = load_data(train_files, valid_files, options, spec, stop)
                _sweep_fractions(folder, data, stop)
        except RunInterruptedError as error:
            raise RunInterruptedError(
                f"interrupted after {folder.progress} trainings; the same command continues.",
                stop.signal_number,
            ) from error
    return SweepResult(folder.points, folder.files)


def stratified_subset(
    labels: npt.NDArray[np.int64], fraction: float, seed: int
) -> npt.NDArray[np.int64]:
    """Chooses a random fraction of each class, at least one image.

    The rows of a smaller fraction are a subset of those of a larger one with the same seed.

    Args:
        labels: int64 [N].
        fraction: the fraction, at most 1.
        seed: random seed.

    Returns:
        int64 [M], sorted rows.
    """
    chosen = []
    for label in np.unique(labels):
        rows = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))


class _SweepFolder:
    """The output folder; each result is written before the next training starts."""

    def __init__(self, options: SweepOptions) -> None:
        self.options = options
        self.path = options.output
        self._requested = set(itertools.product(options.size_list, options.fraction_list))
        self._json_path = self.path / "sweep.json"
        self._document = self._read()

    @property
    def progress(self) -> str:
        """Finished and requested trainings, such as ``1 of 2``."""
        finished = self._requested & {(point.size, point.fraction) for point in self.points}
        return f"{len(finished)} of {len(self._requested)}"

    @property
    def points(self) -> list[SweepPoint]:
        """Results of the finished trainings, sorted by size and fraction."""
        return [] if self._document is None else self._document.points

    @property
    def files(self) -> list[Path]:
        """The files of the folder."""
        return [self.path / f"sweep.{ending}" for ending in ("csv", "png", "json", "toml")]

    def begin(self, data: TrainingData) -> None:
        """Checks that the data and options are those of the existing results, if any.

        Raises:
            UsageError: the folder has a sweep with other data or options.
        """
        settings = {
            k: v
            for k, v in dataclasses.asdict(self.options).items()
            if k not in _CHANGEABLE_OPTIONS
        }
        settings["data"] = fingerprint(data.train, data.valid)
        if self._document is None:
            for leftover in self.path.glob("*.checkpoint"):
                shutil.rmtree(leftover)
            self._document = _SweepDocument(settings, [])
            self._write()
        for name in sorted(settings):
            saved = self._document.settings.get(name)
            if saved != settings[name]:
                raise UsageError(
                    f"{self.path} holds a sweep with {name} {saved}, not {settings[name]}; use "
                    "the same value, give another folder, or start over with --force."
                )

    def checkpoint(self, size: str, fraction: float) -> Checkpoint:
        """Returns the checkpoint of a training."""
        return Checkpoint(
            self.path / f"{size}-{fraction:g}.checkpoint", {"size": size, "fraction": fraction}
        )

    def add(self, point: SweepPoint) -> None:
        """Adds a result and writes the files."""
        self.points.append(point)
        self.points.sort(key=lambda point: (*map(int, point.size.split("x")), point.fraction))
        self._write()

    def _read(self) -> _SweepDocument | None:
        if not self._json_path.exists():
            require_new_folder(self.path)
            return None
        if self.options.force:
            return None
        try:
            return read_document(self._json_path, _SweepDocument)
        except (OSError, DocumentError) as error:
            raise UsageError(
                f"{self._json_path} is damaged; give another folder, or start over with --force."
            ) from error

    def _write(self) -> None:
        from boattrain.fitting.plots import draw_sweep

        with translate_write_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        table, plot, document, settings = self.files
        with atomic_write(table) as temporary, temporary.open("w", newline="") as file:
            rows = map(msgspec.structs.astuple, self.points)
            csv.writer(file).writerows([SweepPoint.__struct_fields__, *rows])
        with atomic_write(plot) as temporary:
            draw_sweep(self.points, temporary)
        with atomic_write(settings) as temporary:
            temporary.write_text(to_toml(self.options, "train sweep"), encoding="utf-8")
        with atomic_write(document) as temporary:  # last, as it marks results as complete
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self._document)))


def _sweep_fractions(folder: _SweepFolder, data: TrainingData, stop: Stop) -> None:
    folder.begin(data)
    size = f"{data.spec.height}x{data.spec.width}"
    finished = {point.fraction for point in folder.points if point.size == size}
    for fraction in folder.options.fraction_list:
        if fraction not in finished:
            rows = stratified_subset(data.train.labels, fraction, folder.options.seed)
            subset = dataclasses.replace(data, train=data.train.subset(rows))
            _log.info("%s, %g of train: %s", size, fraction, counted(len(rows), "image"))
            folder.add(_train_point(folder, size, fraction, subset, stop))
            folder.checkpoint(size, fraction).clear()


def _train_point(
    folder: _SweepFolder, size: str, fraction: float, data: TrainingData, stop: Stop
) -> SweepPoint:
    started, checkpoint = time.monotonic(), folder.checkpoint(size, fraction)
    load_keras().utils.clear_session()
    options, log_folder = folder.options, folder.options.tensorboard
    if log_folder is not None:
        options = dataclasses.replace(options, tensorboard=log_folder / f"{size}-{fraction:g}")
    state = checkpoint.load() if checkpoint.exists else TrainingState()
    model, fit_result = fit(options, CNN, data, checkpoint, stop, state=state)
    if fit_result.signal_number:
        raise RunInterruptedError("interrupted.", fit_result.signal_number)
    evaluation, _ = evaluate(model, data.valid, data.classes, options.batch_size)
    accuracy_low, accuracy_high = evaluation.intervals.accuracy.tolist()
    macro_f1_low, macro_f1_high = evaluation.intervals.macro_f1.tolist()
    return SweepPoint(
        size=size,
        fraction=fraction,
        images=len(data.train.labels),
        accuracy=evaluation.accuracy,
        accuracy_low=accuracy_low,
        accuracy_high=accuracy_high,
        macro_f1=evaluation.macro_f1,
        macro_f1_low=macro_f1_low,
        macro_f1_high=macro_f1_high,
        best_epoch=fit_result.best.epoch,
        seconds=round(time.monotonic() - started, 1),
    )
