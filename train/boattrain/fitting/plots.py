"""The pictures of a training: its curves, and who was taken for whom."""

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
from boattrain.fitting.history import Epoch

if TYPE_CHECKING:
    from boattrain.sweep.sweep import Point

__all__ = ["draw_confusion", "draw_curves", "draw_sweep"]

_INCHES_PER_CLASS = 0.45
#: A matrix of more classes is drawn without names and counts.
_MOST_NAMED = 50


def draw_curves(history: Sequence[Epoch], best: Epoch, path: Path) -> None:
    """Draws loss and accuracy on train and valid over the epochs, as a PNG file.

    Args:
        history: every epoch's figures.
        best: the epoch to mark.
        path: the file.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [epoch.epoch for epoch in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [getattr(epoch, name) for epoch in history], ".-", label="train")
        axes.plot(epochs, [getattr(epoch, f"val_{name}") for epoch in history], ".-", label="valid")
        if name == "accuracy":
            macro = [epoch.val_macro_f1 for epoch in history]
            axes.plot(epochs, macro, ".-", label="valid, macro-F1")
        axes.axvline(best.epoch, color="grey", linestyle="--", label=f"kept epoch ({best.epoch})")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, format="png", dpi=120)


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """Draws the confusion matrix on valid, shaded by the share of the true class, as PNG."""
    counts = evaluation.confusion
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    side = 3 + _INCHES_PER_CLASS * min(len(counts), _MOST_NAMED)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted class", ylabel="true class", title="valid images")
    if len(counts) <= _MOST_NAMED:
        for row, column in np.argwhere(counts).tolist():
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=colour)
        names = [name.replace("$", r"\$") for name in evaluation.classes]  # no formulas
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font lacks
        figure.savefig(path, format="png", dpi=100)


def draw_sweep(points: Sequence[Point], path: Path) -> None:
    """Draws accuracy and macro-F1 on valid over the number of training images, as a PNG file.

    Args:
        points: the trainings, sorted; there is a line for each size.
        path: the file.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    counts = sorted({point.images for point in points})
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "macro_f1"), strict=True):
        for size, group in itertools.groupby(points, lambda point: point.size):
            line = [(point.images, *_interval(point, name)) for point in group]
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


def _interval(point: Point, name: str) -> tuple[float, float, float]:
    """A figure, and how far its interval reaches below and above it."""
    value, low, high = (getattr(point, f"{name}{end}") for end in ("", "_low", "_high"))
    return value, max(0.0, value - low), max(0.0, high - value)
