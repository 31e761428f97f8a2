"""What the data commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

__all__ = ["plain_console", "print_counts"]


def print_counts(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> None:
    """Prints how many images each class has in each split.

    Args:
        classes: names of the classes.
        counts: for each split, the images of each class.
    """
    table = Table(box=SIMPLE, show_footer=True, pad_edge=False)
    table.add_column("class", "all", overflow="fold")
    for split, column in counts.items():
        table.add_column(split, f"{sum(column):,}", justify="right")
    for name, *row in zip(classes, *counts.values(), strict=True):
        table.add_row(name, *(f"{count:,}" for count in row))
    plain_console().print(table)


def plain_console() -> Console:
    """A console that shows names as they are, whatever signs are in them."""
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
