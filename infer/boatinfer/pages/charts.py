"""Line charts as inline SVG, in the colours of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Curve", "chart"]

#: Placeholder colours, which are replaced by CSS variables of the page, light or dark.
_COLOURS = {"#010101": "--ink", "#020202": "--line", "#030303": "--bar", "#040404": "--mark"}
_INK, _LINE, _BAR, _MARK = _COLOURS
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "boatinfer",
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
}


class Curve(NamedTuple):
    """One line of a chart.

    Attributes:
        x: float [N].
        y: float [N].
        name: for the legend.
    """

    x: Sequence[float]
    y: Sequence[float]
    name: str


def chart(
    curve: Curve,
    *,
    description: str,
    x: str,
    y: str,
    reference: Curve | None = None,
    points: bool = False,
    shown: Callable[[float], str] | None = None,
) -> Markup:
    """Draws a line chart.

    Args:
        curve: the curve.
        description: alternative text for screen readers.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        reference: a second curve to compare with, drawn dashed.
        points: whether to mark each value.
        shown: formats the values at the axes.

    Returns:
        An ``svg`` element.
    """
    import matplotlib as mpl
    from markupsafe import Markup, escape
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        axes = figure.add_subplot()
        if reference is not None:
            axes.plot(reference.x, reference.y, "--", color=_MARK, label=reference.name)
        axes.plot(curve.x, curve.y, color=_BAR, marker="o" if points else "", label=curve.name)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(visible=True)
        if shown is not None:
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(lambda value, _: shown(round(value, 9)))
        if reference is not None:
            axes.legend(frameon=False, loc="best")
        buffer = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Type": None, "Format": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, f"var({variable})")
    return Markup(
        svg.replace("<svg", f'<svg class="chart" role="img" aria-label="{escape(description)}"', 1)
    )
