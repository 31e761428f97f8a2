"""How accuracy grows with the size of the input and the amount of training data.

The output folder is the memory as well: a sweep that was interrupted, given again, goes on
with the training, and in it the epoch, that was due.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import typer

from boatinfer.dataset.class_folders import find_images
from boatinfer.dataset.splits import parse_share
from boatinfer.errors import RunInterruptedError, UsageError
from boatinfer.signals import Stop, stop_on_signals
from boatinfer.storage.documents import DocumentError, read_document
from boatinfer.storage.files import atomic_write, require_new_folder, translate_write_errors
from boatinfer.text import counted
from boattrain.backend import load_keras
from boattrain.config import to_toml
from boattrain.fitting.checkpoint import Checkpoint, State
from boattrain.fitting.pixels import Data, fingerprint
from boattrain.networks.base import CNN
from boattrain.options import CnnOptions
from boattrain.sweep.options import SweepOptions
from boattrain.training import evaluate, fit, image_spec, load_data

__all__ = ["Point", "Sweep", "stratified", "sweep"]

#: Options that may change when a sweep is continued.
_FREE = {
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


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One training of a sweep; the columns of ``sweep.csv``.

    Attributes:
        size: HEIGHTxWIDTH of the input, pixels.
        fraction: part of the training images, above 0 and at most 1.
        images: how many that were.
        accuracy: on valid, a fraction of 1.
        accuracy_low: lower end of its 95 % interval.
        accuracy_high: upper end.
        macro_f1: on valid, and its interval likewise.
        best_epoch: the epoch that these are of.
        seconds: how long the training took, from its last start.
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


class _Memory(msgspec.Struct, forbid_unknown_fields=True):
    """``sweep.json``: what all trainings have in common, and those that are done."""

    settings: dict[str, Any]
    points: list[Point]


@dataclass(frozen=True)
class Sweep:
    """What is in the output folder.

    Attributes:
        points: every training, by size and fraction.
        files: what was written.
    """

    points: list[Point]
    files: list[Path]


def sweep(options: SweepOptions) -> Sweep:
    """Trains the small convolutional network for every size and fraction.

    All trainings share valid and, apart from size and fraction, all options. A smaller
    fraction's images are among those of a larger one.

    Args:
        options: sizes, fractions, how to train, and the folder to write.

    Returns:
        All results in the folder, those of earlier calls included.

    Raises:
        UsageError: the data or an option cannot be used, or the folder is of another sweep.
        OutputError: the folder cannot be written.
        RunInterruptedError: a signal came; what was done is kept.
    """
    specs = [image_spec(size, CNN.smallest, "--sizes") for size in options.each_size]
    found = find_images(options.data, parse_share(options.valid, "--valid"))
    folder = _Folder(options)
    import boattrain.fitting.plots  # noqa: F401 (what is missing shall not cost a training)

    load_keras()
    with stop_on_signals() as stop:
        try:
            for spec in specs:
                _sweep_fractions(folder, load_data(*found, options, spec, stop), stop)
        except RunInterruptedError as error:
            raise RunInterruptedError(
                f"interrupted after {folder.progress} trainings; the same command continues.",
                stop.signal_number,
            ) from error
    return Sweep(folder.points, folder.files)


def stratified(labels: npt.NDArray[np.int64], fraction: float, seed: int) -> npt.NDArray[np.int64]:
    """Chooses a part of each class, at least one image.

    Args:
        labels: int64 [N].
        fraction: the part, at most 1; a smaller one's images are among a larger one's.
        seed: decides which.

    Returns:
        int64 [M], sorted rows.
    """
    chosen = []
    for label in np.unique(labels):
        rows = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))


class _Folder:
    """The output folder; every result is in it before the next training begins."""

    def __init__(self, options: SweepOptions) -> None:
        self.options = options
        self.path = options.output
        self._wanted = set(itertools.product(options.each_size, options.each_fraction))
        self._json = self.path / "sweep.json"
        self._known = self._read()

    @property
    def progress(self) -> str:
        """How many of the trainings that are asked for are done, such as ``1 of 2``."""
        done = self._wanted & {(point.size, point.fraction) for point in self.points}
        return f"{len(done)} of {len(self._wanted)}"

    @property
    def points(self) -> list[Point]:
        """The trainings that are done, by size and fraction."""
        return [] if self._known is None else self._known.points

    @property
    def files(self) -> list[Path]:
        """What is written."""
        return [self.path / f"sweep.{ending}" for ending in ("csv", "png", "json", "toml")]

    def begin(self, data: Data) -> None:
        """Compares the data and the options with those of the results that are there.

        Raises:
            UsageError: they are of another sweep.
        """
        settings = {k: v for k, v in dataclasses.asdict(self.options).items() if k not in _FREE}
        settings["data"] = fingerprint(data.train, data.valid)
        if self._known is None:
            for leftover in self.path.glob("*.checkpoint"):
                shutil.rmtree(leftover)
            self._known = _Memory(settings, [])
            self._write()
        for name in sorted(settings):
            was = self._known.settings.get(name)
            if was != settings[name]:
                raise UsageError(
                    f"{self.path} holds a sweep with {name} {was}, not {settings[name]}; take "
                    "that, give another folder, or --force to begin anew."
                )

    def checkpoint(self, size: str, fraction: float) -> Checkpoint:
        """Where an unfinished training is kept."""
        return Checkpoint(
            self.path / f"{size}-{fraction:g}.checkpoint", {"size": size, "fraction": fraction}
        )

    def add(self, point: Point) -> None:
        """Writes one more result."""
        self.points.append(point)
        self.points.sort(key=lambda point: (*_pixels(point.size), point.fraction))
        self._write()

    def _read(self) -> _Memory | None:
        if not self._json.exists():
            require_new_folder(self.path)
            return None
        if self.options.force:
            return None
        try:
            return read_document(self._json, _Memory)
        except (OSError, DocumentError) as error:
            raise UsageError(
                f"{self._json} is damaged; give another folder, or --force to begin anew."
            ) from error

    def _write(self) -> None:
        from boattrain.fitting.plots import draw_sweep

        with translate_write_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        table, picture, memory, settings = self.files
        with atomic_write(table) as temporary, temporary.open("w", newline="") as file:
            rows = map(msgspec.structs.astuple, self.points)
            csv.writer(file).writerows([Point.__struct_fields__, *rows])
        with atomic_write(picture) as temporary:
            draw_sweep(self.points, temporary)
        with atomic_write(settings) as temporary:
            temporary.write_text(to_toml(self.options, "train sweep"), encoding="utf-8")
        with atomic_write(memory) as temporary:  # last: a result in it is in the others
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self._known)))


def _sweep_fractions(folder: _Folder, data: Data, stop: Stop) -> None:
    folder.begin(data)
    size = f"{data.spec.height}x{data.spec.width}"
    done = {point.fraction for point in folder.points if point.size == size}
    for fraction in folder.options.each_fraction:
        if fraction not in done:
            rows = stratified(data.train.labels, fraction, folder.options.seed)
            part = dataclasses.replace(data, train=data.train.take(rows))
            typer.echo(f"{size}, {fraction:g} of train: {counted(len(rows), 'image')}", err=True)
            folder.add(_train(folder, size, fraction, part, stop))
            folder.checkpoint(size, fraction).clear()


def _train(folder: _Folder, size: str, fraction: float, data: Data, stop: Stop) -> Point:
    began, checkpoint = time.monotonic(), folder.checkpoint(size, fraction)
    load_keras().utils.clear_session()
    options = _cnn_options(folder.options, size, fraction)
    state = checkpoint.load() if checkpoint.exists else State()
    model, fitted = fit(options, CNN, data, checkpoint, stop, state=state)
    if fitted.signal_number:
        raise RunInterruptedError("interrupted.", fitted.signal_number)
    evaluation, _ = evaluate(model, data.valid, data.classes, options.batch_size)
    accuracy_low, accuracy_high = evaluation.intervals.accuracy.tolist()
    macro_f1_low, macro_f1_high = evaluation.intervals.macro_f1.tolist()
    return Point(
        size=size,
        fraction=fraction,
        images=len(data.train.labels),
        accuracy=evaluation.accuracy,
        accuracy_low=accuracy_low,
        accuracy_high=accuracy_high,
        macro_f1=evaluation.macro_f1,
        macro_f1_low=macro_f1_low,
        macro_f1_high=macro_f1_high,
        best_epoch=fitted.best.epoch,
        seconds=round(time.monotonic() - began, 1),
    )


def _cnn_options(options: SweepOptions, size: str, fraction: float) -> CnnOptions:
    """The options of one training."""
    names = [field.name for field in dataclasses.fields(CnnOptions)]
    log = options.tensorboard and options.tensorboard / f"{size}-{fraction:g}"
    own = {"size": size, "tensorboard": log}
    return CnnOptions(**{name: getattr(options, name) for name in names} | own)


def _pixels(size: str) -> Iterable[int]:
    return map(int, size.split("x"))
