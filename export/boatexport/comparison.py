"""A converted model beside its original: on the same labelled images, at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from boatinfer.analysis.metrics import scores
from boatinfer.cpus import usable_cpus
from boatinfer.images import Pixels
from boatinfer.models.card import Card, Figures
from boatinfer.models.device import Device
from boatinfer.models.inference import Floats, infer
from boatinfer.parallel import parallel_unordered

__all__ = ["Comparison", "Runner", "compare", "divergence"]

#: How long both networks are timed, in turns, seconds, and at least how many turns.
_SECONDS = 4.0
_TURNS = 5

#: What probabilities are not taken below when their logarithm is.
_LEAST = 1e-7


@dataclass(frozen=True)
class Runner:
    """A graph that can be run, whatever its precision.

    Attributes:
        session: the onnxruntime session.
        card: the card of the graph, or of the one that it was made from.
    """

    session: Any
    card: Card

    def __call__(self, batch: Pixels) -> Floats:
        """Gives probabilities, float32 [N, C], for uint8 [N, H, W, 3]."""
        return infer(self.session, self.card.input, self.card.outputs, batch).probabilities


@dataclass(frozen=True)
class Comparison:
    """Both models' figures on the same images, all but the sizes of their files.

    Attributes:
        images: how many labelled images.
        original: of the model that was given.
        converted: of the one made from it.
        agreement: share of the images that both give the same label.
    """

    images: int
    original: Figures
    converted: Figures
    agreement: float


def compare(
    original: Runner,
    converted: Runner,
    batches: Iterable[tuple[Pixels, npt.NDArray[np.int64]]],
    device: Device,
) -> Comparison | None:
    """Runs both models over labelled images and times them in turns.

    Args:
        original: on one thread.
        converted: on one thread.
        batches: pixels, uint8 [N, H, W, 3], and labels, int64 [N].
        device: where both are.

    Returns:
        What was found; None where there were no images.
    """

    def run(batch: tuple[Pixels, npt.NDArray[np.int64]]) -> tuple[Any, ...]:
        return *batch, original(batch[0]), converted(batch[0])

    timed = np.empty((0, 0, 0, 3), np.uint8)
    rows = []
    with parallel_unordered(run, batches, usable_cpus()) as done:
        for pixels, *row in done:
            rows.append(row)
            timed = max(timed, pixels, key=len)
    if not rows:
        return None
    truth, before, after = (np.concatenate(column) for column in zip(*rows, strict=True))
    # On one thread of the CPU its own time counts, which other processes do not lengthen.
    clock = time.perf_counter if device is Device.CUDA else time.thread_time
    speeds = _speeds(original, converted, timed, clock)
    figures = [
        Figures(*scores(truth, probabilities), images_per_second=speed, bytes=0)
        for probabilities, speed in zip((before, after), speeds, strict=True)
    ]
    agreement = float(np.mean(before.argmax(axis=1) == after.argmax(axis=1)))
    return Comparison(len(truth), figures[0], figures[1], agreement)


def divergence(original: Floats, other: Floats) -> float:
    """How far probabilities are from the original's: mean Kullback-Leibler divergence, nats.

    Args:
        original: float32 [N, C].
        other: float32 [N, C]; where one is not a number, the divergence is infinite.
    """
    logarithms = [np.log(np.maximum(p, _LEAST, dtype=np.float64)) for p in (original, other)]
    mean = np.mean((original * (logarithms[0] - logarithms[1])).sum(axis=1))
    return float(mean) if np.isfinite(mean) else np.inf


def _speeds(
    original: Runner, converted: Runner, pixels: Pixels, clock: Callable[[], float]
) -> Iterator[float]:
    """Images a second of both: the best of many turns, so that what else runs matters little."""
    best = [np.inf, np.inf]
    ends, turn = time.perf_counter() + _SECONDS, 0
    while turn < _TURNS or time.perf_counter() < ends:
        for which, run in enumerate((original, converted)):
            started = clock()
            run(pixels)
            best[which] = min(best[which], clock() - started)
        turn += 1
    return (len(pixels) / max(seconds, 1e-9) for seconds in best)
