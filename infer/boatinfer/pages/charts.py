"""Curves as SVG inside a page, in its colours."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Curve", "chart"]

#: Colours of the drawing, which become those of the page, light or dark.
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
    curve: Curve, *, says: str, x: str, y: str, beside: Curve | None = None, points: bool = False
) -> Markup:
    """Draws a curve of shares, from 0 to 1 each way or as far as they go.

    Args:
        curve: what is shown.
        says: the same in words, for those who do not see it.
        x: what lies along the horizontal axis.
        y: what lies along the vertical axis.
        beside: what it is to be compared with, drawn dashed.
        points: whether each value is marked.

    Returns:
        An ``svg`` element.
    """
    import matplotlib as mpl
    from markupsafe import Markup, escape
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        axes = figure.add_subplot()
        if beside is not None:
            axes.plot(beside.x, beside.y, "--", color=_MARK, label=beside.name)
        axes.plot(curve.x, curve.y, color=_BAR, marker="o" if points else "", label=curve.name)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(visible=True)
        if beside is not None:
            axes.legend(frameon=False, loc="best")
        drawn = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Type": None, "Format": None}
        figure.savefig(drawn, format="svg", transparent=True, metadata=metadata)
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for drawn_as, name in _COLOURS.items():
        svg = svg.replace(drawn_as, f"var({name})")
    return Markup(
        svg.replace("<svg", f'<svg class="chart" role="img" aria-label="{escape(says)}"', 1)
    )
