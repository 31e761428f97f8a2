"""Text for a terminal: tables whose columns line up, and names that do nothing to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["counted", "joined", "printable", "table"]


def printable(text: str) -> str:
    """Writes what would move the cursor or change colours as an escape sequence's text."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str) -> str:
    """Writes a number of things: ``1 image``, ``1,200 images``, ``2 classes``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def joined(names: Sequence[object], most: int = 3) -> str:
    """Writes some names: ``a``, ``a and b``, ``a, b, c and 7 more``."""
    shown = [str(name) for name in names[:most]]
    more = len(names) - len(shown)
    *first, last = [*shown, f"{more:,} more"] if more else shown
    return f"{', '.join(first)} and {last}" if first else last


def table(rows: Iterable[Sequence[object]], names: int = 1) -> list[str]:
    """Lines of a table, each indented by two.

    Args:
        rows: cells; every row has as many.
        names: how many columns, from the first, are names and stand left; the rest, figures,
            stand right.
    """
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(_line(row, widths, names)).rstrip() for row in cells]


def _line(row: Sequence[str], widths: Sequence[int], names: int) -> Iterable[str]:
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if number < names else cell.rjust(width)
