"""Plots of a training: learning curves, confusion matrix, and sweep results."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from boatinfer.analysis.evaluation import Evaluation
from boattrain.fitting.history import EpochMetrics

if TYPE_CHECKING:
    from boattrain.sweep.sweep import SweepPoint

__all__ = ["draw_confusion", "draw_curves", "draw_sweep"]

_INCHES_PER_CLASS = 0.45
#: A confusion matrix of more classes is drawn without class names and counts.
_MAX_LABELLED_CLASSES = 50


def draw_curves(history: Sequence[EpochMetrics], best: EpochMetrics, path: Path) -> None:
    """Plots training and validation loss and accuracy by epoch, as a PNG file.

    Args:
        history: metrics of every epoch.
        best: the epoch to mark.
        path: the file to write.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [epoch.epoch for epoch in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [getattr(epoch, name) for epoch in history], ".-", label="train")
        axes.plot(epochs, [getattr(epoch, f"val_{name}") for epoch in history], ".-", label="valid")
        if name == "accuracy":
            macro_f1 = [epoch.val_macro_f1 for epoch in history]
            axes.plot(epochs, macro_f1, ".-", label="valid, macro-F1")
        axes.axvline(best.epoch, color="grey", linestyle="--", label=f"kept epoch ({best.epoch})")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, format="png", dpi=120)


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """Plots the confusion matrix of the validation images, as a PNG file.

    Colours show the fraction of the true class.
    """
    counts = evaluation.confusion
    fractions = counts / counts.sum(axis=1, keepdims=True).clip(1)
    side = 3 + _INCHES_PER_CLASS * min(len(counts), _MAX_LABELLED_CLASSES)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted class", ylabel="true class", title="valid images")
    if len(counts) <= _MAX_LABELLED_CLASSES:
        for row, column in np.argwhere(counts).tolist():
            colour = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=colour)
        names = [name.replace("$", r"\$") for name in evaluation.classes]  # else it begins maths
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # class names in a script that the font lacks
        figure.savefig(path, format="png", dpi=100)


def draw_sweep(points: Sequence[SweepPoint], path: Path) -> None:
    """Plots validation accuracy and macro-F1 by number of training images, as a PNG file.

    Args:
        points: the results, sorted by size; there is a line for each size.
        path: the file to write.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    counts = sorted({point.images for point in points})
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "macro_f1"), strict=True):
        for size, group in itertools.groupby(points, lambda point: point.size):
            line = [(point.images, *_value_and_errors(point, name)) for point in group]
            images, value, below, above = zip(*line, strict=True)
            axes.errorbar(images, value, (below, above), fmt=".-", capsize=3, label=size)
        axes.set(xlabel="training images", ylabel=f"{name.replace('_f1', '-F1')} on valid")
        axes.set(xscale="log", ylim=(0, 1))
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        if points:
            axes.legend(title="pixels, with 95 % intervals")
    figure.savefig(path, format="png", dpi=120)


def _value_and_errors(point: SweepPoint, name: str) -> tuple[float, float, float]:
    """Returns a metric and the lengths of its lower and upper error bars."""
    value, low, high = (getattr(point, f"{name}{end}") for end in ("", "_low", "_high"))
    return value, max(0.0, value - low), max(0.0, high - value)
