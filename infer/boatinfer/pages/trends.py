"""How figures went over the last runs, as small lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from boatinfer.pages.page import percent
from boatinfer.results.mix import Mix
from boatinfer.results.summary import Summary
from boatinfer.text import printable

__all__ = ["RUNS", "Line", "Trends", "runs_with_new_images"]

#: Number of runs of a line, at most.
RUNS = 30
#: Width and height of a line's picture, and the margin around the line.
_WIDTH, _HEIGHT, _MARGIN = 100, 24, 3
#: Mean confidences are shown in a range of this width at least.
_RANGE = 0.2


class Line(NamedTuple):
    """A small line.

    Attributes:
        points: x and y of each run, as an SVG polyline has them.
        end: x and y of the last one.
        description: alternative text.
    """

    points: str
    end: tuple[float, float]
    description: str


class Trends:
    """Small lines of one run and those before it.

    Args:
        runs: summaries of runs with new images, the latest first.
    """

    def __init__(self, runs: Sequence[Summary]) -> None:
        self._runs = [run.new or Mix() for run in reversed(runs)]

    @property
    def length(self) -> int:
        """Number of runs."""
        return len(self._runs)

    @property
    def found(self) -> Line | None:
        """New images; None where there is but one run."""
        return self._line("New images", lambda new: new.found, "{:,.0f}".format)

    @property
    def failed(self) -> Line | None:
        """New failures."""
        return self._line("Failures", lambda new: new.failed, "{:,.0f}".format)

    @property
    def confidence(self) -> Line | None:
        """Mean confidence."""
        name = "Mean confidence"
        return self._line(name, lambda new: new.mean_confidence, "{:.2f}".format, _RANGE)

    def share(self, label: str) -> Line | None:
        """Share of a predicted class."""

        def share(new: Mix) -> float | None:
            return new.classes.get(label, 0) / new.classified if new.classified else None

        return self._line(f"Share of {printable(label)}", share, percent)

    def _line(
        self,
        name: str,
        figure: Callable[[Mix], float | None],
        shown: Callable[[float], str],
        least: float | None = None,
    ) -> Line | None:
        values = [value for value in map(figure, self._runs) if value is not None]
        if len(values) < 2:
            return None
        low, high = (0.0, max(values)) if least is None else _range(values, least)
        step = (_WIDTH - 2 * _MARGIN) / (len(values) - 1)
        scale = (_HEIGHT - 2 * _MARGIN) / (high - low or 1)
        points = [
            (round(_MARGIN + i * step, 1), round(_HEIGHT - _MARGIN - (value - low) * scale, 1))
            for i, value in enumerate(values)
        ]
        return Line(
            " ".join(f"{x:g},{y:g}" for x, y in points),
            points[-1],
            f"{name} over the last {len(values)} runs: from {shown(min(values))} to "
            f"{shown(max(values))}, {shown(values[-1])} in this one.",
        )


def runs_with_new_images(history: Iterable[Summary], model: str) -> Iterator[Summary]:
    """The complete runs of a model that found new images."""
    for run in history:
        if run.complete and run.model == model and run.new and run.new.found:
            yield run


def _range(values: Sequence[float], least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = max(0.0, least - (high - low)) / 2
    return low - margin, high + margin
