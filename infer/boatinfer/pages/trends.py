"""How figures went over the last runs, as small lines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from boatinfer.i18n import Language
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
        language: of the descriptions.
    """

    def __init__(self, runs: Sequence[Summary], language: Language) -> None:
        self._language = language
        self._runs = [run.new or Mix() for run in reversed(runs)]

    @property
    def length(self) -> int:
        """Number of runs."""
        return len(self._runs)

    @property
    def found(self) -> Line | None:
        """New images; None where there is but one run."""
        return self._line(self._language.gettext("New images"), lambda new: new.found)

    @property
    def failed(self) -> Line | None:
        """New failures."""
        return self._line(self._language.gettext("Failures"), lambda new: new.failed)

    @property
    def confidence(self) -> Line | None:
        """Mean confidence."""
        name = self._language.gettext("Mean confidence")
        shown = functools.partial(self._language.decimal, digits=2)
        return self._line(name, lambda new: new.mean_confidence, shown, _RANGE)

    def share(self, label: str) -> Line | None:
        """Share of a predicted class."""

        def share(new: Mix) -> float | None:
            return new.classes.get(label, 0) / new.classified if new.classified else None

        name = self._language.gettext("Share of %(label)s", label=printable(label))
        return self._line(name, share, self._language.percent)

    def _line(
        self,
        name: str,
        figure: Callable[[Mix], float | None],
        shown: Callable[[float], str] | None = None,
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
            self._description(name, values, shown or self._language.number),
        )

    def _description(
        self, name: str, values: Sequence[float], shown: Callable[[float], str]
    ) -> str:
        return self._language.gettext(
            "%(name)s over the last %(runs)s runs: from %(least)s to %(most)s, %(last)s in this "
            "one.",
            name=name,
            runs=self._language.number(len(values)),
            least=shown(min(values)),
            most=shown(max(values)),
            last=shown(values[-1]),
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
