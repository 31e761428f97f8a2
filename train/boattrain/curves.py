"""The picture of a training: loss and accuracy over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from boattrain.history import Epoch, best_of

__all__ = ["draw_curves"]


def draw_curves(history: Sequence[Epoch], path: Path) -> None:
    """Draws train and valid curves, with the best epoch marked, as a PNG file."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    epochs = [epoch.epoch for epoch in history]
    best = best_of(history).epoch
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [getattr(epoch, name) for epoch in history], "o-", label="train")
        axes.plot(epochs, [getattr(epoch, f"val_{name}") for epoch in history], "o-", label="valid")
        axes.axvline(best, color="grey", linestyle="--", label=f"best epoch ({best})")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, format="png", dpi=120)
