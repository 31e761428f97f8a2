"""Text for people: numbers, times and tables, and paths without control characters.

Numbers have thousands separators. A share is a whole percentage in a sentence, and has three digits
in a table. Times are those of the machine.
"""

from __future__ import annotations

import numbers
import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

__all__ = [
    "counted",
    "decimal",
    "duration",
    "from_text",
    "joined",
    "local_time",
    "percent",
    "printable",
    "rounded_percent",
    "table",
    "to_text",
    "xml_text",
]

#: Characters that XML 1.0 does not allow (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """Escapes characters that would move the cursor or change colours."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def xml_text(text: str) -> str:
    """Leaves out the characters that XML 1.0 does not allow."""
    return _NOT_XML.sub("", text)


def counted(number: int, noun: str) -> str:
    """Formats a number of things: ``1 image``, ``1,200 images``, ``2 classes``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def percent(share: float) -> str:
    """Formats a share of 1 for a sentence: ``52 %``; what is nearly all or nothing says so."""
    bound, whole = rounded_percent(share)
    return f"{bound} {whole} %".lstrip()


def rounded_percent(share: float) -> tuple[str, int]:
    """Rounds a share of 1 to a whole percentage.

    Returns:
        ``over`` or ``under`` for what is nearly all or nothing, else nothing; and the percentage.
    """
    whole = round(100 * share)
    if whole >= 100 and share < 1:
        return "over", 99
    return ("under", 1) if whole <= 0 < share else ("", whole)


def decimal(value: float) -> str:
    """Formats a share or score for a table, with three digits: ``0.952``."""
    return f"{value:.3f}"


def duration(seconds: float, tenths: bool = True) -> str:
    """Formats a duration: ``0.4 s``, ``12 s``, ``3 min``, ``2 h 10 min``.

    Args:
        seconds: how long.
        tenths: whether to show tenths of less than 10 s, which an estimate does not have.
    """
    if tenths and seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"


def local_time(time: str) -> str:
    """Formats an ISO 8601 time as one of this machine: ``2026-04-01 04:00``; nothing for none."""
    return time and datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M")


def joined(names: Sequence[object], max_names: int = 3) -> str:
    """Formats some names: ``a``, ``a and b``, ``a, b, c and 7 more``."""
    shown = [str(name) for name in names[:max_names]]
    hidden_count = len(names) - len(shown)
    *first, last = [*shown, f"{hidden_count:,} more"] if hidden_count else shown
    return f"{', '.join(first)} and {last}" if first else last


def table(rows: Iterable[Sequence[object]], names: int = 1) -> list[str]:
    """Formats a table, each line indented by two spaces.

    Args:
        rows: the cells; all rows have the same number. Whole numbers get thousands separators.
        names: how many of the first columns are names, which are aligned left; the others,
            numbers, are aligned right.
    """
    cells = [[printable(_cell(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(_line(row, widths, names)).rstrip() for row in cells]


def _cell(value: object) -> str:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return f"{value:,}" if whole else str(value)


def _line(row: Sequence[str], widths: Sequence[int], names: int) -> Iterable[str]:
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if number < names else cell.rjust(width)


def to_text(path: str) -> str:
    r"""Turns a path into text that is valid UTF-8; bytes that are not become ``\xNN``."""
    if path.isascii() and "\\x" not in path:
        return path
    raw = os.fsencode(path)
    try:
        if "\\x" not in raw.decode():
            return path
    except UnicodeDecodeError:
        pass
    return raw.replace(b"\\", b"\\\\").decode(errors="backslashreplace")


def from_text(text: str) -> str:
    """Turns the text of a path back into the path; the inverse of `to_text`."""
    if "\\x" not in text:
        return text
    raw = re.sub(
        rb"\\(\\|x[0-9a-f]{2})",
        lambda match: b"\\" if match[1] == b"\\" else bytes([int(match[1][1:], 16)]),
        text.encode(),
    )
    return os.fsdecode(raw)
