"""On which line of a TOML file something stands; `tomllib` does not say."""

from __future__ import annotations

import re

__all__ = ["Lines"]

_NAME = r"[\"']?([\w-]+)[\"']?\s*"
_HEADER = re.compile(rf"\s*\[\[?\s*{_NAME}(?:\.\s*{_NAME})?\]\]?")
_KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]")


class Lines:
    """The lines of the tables and keys of a file.

    Args:
        text: the content of the file. One written in another style than line by line, such as
            with inline tables, gives the line of the next thing around.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, int, str], int] = {}
        table, counts = ("", 0), {"": 1}
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                name, inner = header.groups()
                if inner is None:
                    counts[name] = counts.get(name, 0) + 1
                table = f"{name}.{inner}" if inner else name, counts.get(name, 1) - 1
                self._lines.setdefault((*table, ""), number)
            elif key := _KEY.match(line):
                self._lines.setdefault((*table, key[1]), number)

    def of(self, table: str, number: int = 0, key: str = "") -> int:
        """The line of a key, else that of its table, else 1.

        Args:
            table: name of the table; empty for the keys above all tables. One of a table has the
                name of both, as ``folder.notify``.
            number: which of the tables of this name, or of the outer name, from 0 on.
            key: the key in it, or a table among the keys above; empty for the table itself.
        """
        outer, _, inner = table.partition(".")
        keys = [(table, number, key), (f"{table}.{key}", number, ""), (table, number, "")]
        keys += [("", 0, table), (key, 0, ""), (outer, number, inner), (outer, number, "")]
        return next((self._lines[one] for one in keys if one in self._lines), 1)

    def has(self, table: str, number: int, key: str) -> bool:
        """Whether a key stands on a line of its own there."""
        return (table, number, key) in self._lines
