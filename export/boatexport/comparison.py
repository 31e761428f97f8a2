"""Compares a converted model with its original: accuracy and speed on the same images."""

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
from boatinfer.models.card import Card, Figures, Outputs
from boatinfer.models.device import Device
from boatinfer.models.inference import Floats, infer
from boatinfer.parallel import parallel_unordered

__all__ = ["Comparison", "Runner", "compare", "divergence"]

#: Duration of the timing of both networks in turns, in seconds, and fewest rounds.
_TIMING_SECONDS = 4.0
_MIN_TIMING_ROUNDS = 5

#: Lower bound of probabilities before their logarithm.
_EPSILON = 1e-7


@dataclass(frozen=True)
class Runner:
    """Runs a graph of any precision.

    Attributes:
        session: the onnxruntime session.
        card: the card of the graph, or of its original.
    """

    session: Any
    card: Card

    def __call__(self, batch: Pixels) -> Floats:
        """Returns probabilities, float32 [N, C], for images, uint8 [N, H, W, 3]."""
        names = self.card.outputs
        scores = Outputs(probabilities=names.probabilities, logits=names.logits)
        return infer(self.session, self.card.input, scores, batch).probabilities

    def novelty(self, batch: Pixels) -> Floats:
        """Returns the novelty, float32 [N], of a model that has such an output."""
        found = infer(self.session, self.card.input, self.card.outputs, batch).novelty
        assert found is not None
        return np.asarray(found[:, 0])


@dataclass(frozen=True)
class Comparison:
    """Metrics of both models on the same images, without their file sizes.

    Attributes:
        images: number of labelled images.
        original: metrics of the original.
        converted: metrics of the converted model.
        agreement: fraction of the images with the same predicted label.
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
    """Runs both models on labelled images and times them in turns.

    Args:
        original: the original, with one thread.
        converted: the converted model, with one thread.
        batches: pixels, uint8 [N, H, W, 3], and labels, int64 [N].
        device: the device of both.

    Returns:
        The comparison; None if there are no images.
    """

    def run(batch: tuple[Pixels, npt.NDArray[np.int64]]) -> tuple[Any, ...]:
        return *batch, original(batch[0]), converted(batch[0])

    timing_batch = np.empty((0, 0, 0, 3), np.uint8)
    rows = []
    with parallel_unordered(run, batches, usable_cpus()) as done:
        for pixels, *row in done:
            rows.append(row)
            timing_batch = max(timing_batch, pixels, key=len)
    if not rows:
        return None
    labels, before, after = (np.concatenate(column) for column in zip(*rows, strict=True))
    # CPU time of the thread, which other processes do not affect, unless on a GPU.
    clock = time.perf_counter if device is Device.CUDA else time.thread_time
    speeds = _measure_speeds(original, converted, timing_batch, clock)
    figures = [
        Figures(*scores(labels, probabilities), images_per_second=speed, bytes=0)
        for probabilities, speed in zip((before, after), speeds, strict=True)
    ]
    agreement = float(np.mean(before.argmax(axis=1) == after.argmax(axis=1)))
    return Comparison(len(labels), figures[0], figures[1], agreement)


def divergence(original: Floats, other: Floats) -> float:
    """Computes the mean Kullback-Leibler divergence from the original, in nats.

    Args:
        original: probabilities of the original, float32 [N, C].
        other: probabilities to compare, float32 [N, C]; the result is infinite if one is NaN.
    """
    logs = [np.log(np.maximum(p, _EPSILON, dtype=np.float64)) for p in (original, other)]
    mean = np.mean((original * (logs[0] - logs[1])).sum(axis=1))
    return float(mean) if np.isfinite(mean) else np.inf


def _measure_speeds(
    original: Runner, converted: Runner, pixels: Pixels, clock: Callable[[], float]
) -> Iterator[float]:
    """Returns images per second of both: the best of many rounds, against noise."""
    best = [np.inf, np.inf]
    end_time, rounds = time.perf_counter() + _TIMING_SECONDS, 0
    while rounds < _MIN_TIMING_ROUNDS or time.perf_counter() < end_time:
        for index, run in enumerate((original, converted)):
            started = clock()
            run(pixels)
            best[index] = min(best[index], clock() - started)
        rounds += 1
    return (len(pixels) / max(seconds, 1e-9) for seconds in best)
