"""Writes predictions.xlsx: the tables for a person with a spreadsheet, with links to the images."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_from_bytes

import pyarrow as pa

from boatinfer.errors import UsageError, install_hint
from boatinfer.results.summary import Summary, run_time
from boatinfer.results.tables.csv_files import csv_digest
from boatinfer.results.tables.external_sort import batches, decoded
from boatinfer.storage.locations import is_remote, place
from boatinfer.text import from_text, printable

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

__all__ = ["require_writer", "write_spreadsheet"]

#: What a sheet can hold: rows, and characters of a cell and of an argument of a formula.
MAX_ROWS, _MAX_TEXT, _MAX_ARGUMENT = 1_048_576, 32_767, 255

#: Widths of columns in characters; of others `_WIDTH`.
_WIDTHS = {"path": 50, "message": 70, "run": 16, "since": 16}
_WIDTH = 14


class _Formats(NamedTuple):
    """How cells look; numbers and times are shown as the reader's language writes them."""

    head: Any
    link: Any
    share: Any
    number: Any
    time: Any


class _Links(NamedTuple):
    """Links to the images of a folder, whose URL is ``base``, and how they look."""

    base: str
    look: Any

    def address(self, path: str) -> str:
        """The URL of an image, by the text of its path; it may be absolute."""
        inside = os.fsencode(from_text(path))
        base = "file://" if os.path.isabs(inside) else f"{self.base}/"  # noqa: PTH117
        return base + quote_from_bytes(inside)


def require_writer(option: str = "--xlsx") -> None:
    """Checks that spreadsheets can be written.

    Args:
        option: what asks for one.

    Raises:
        UsageError: the extra is not installed.
    """
    try:
        import xlsxwriter  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{option} needs xlsxwriter, which is not installed; {install_hint('xlsx')}."
        ) from error


def write_spreadsheet(path: Path, sheets: dict[str, pa.Table], summary: Summary) -> str:
    """Writes tables as the sheets of a spreadsheet, in little memory.

    Args:
        path: the file to write.
        sheets: tables by their names, with a column ``path`` each.
        summary: of the run; the paths are relative to its folder.

    Returns:
        The file's digest, `csv_digest`.

    Raises:
        UsageError: the extra is not installed.
        OSError: it could not be written.
    """
    require_writer()
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    options = {"constant_memory": True, "strings_to_urls": False, "strings_to_formulas": False}
    folder = place(from_text(summary.folder))
    base = None if is_remote(folder) else folder.as_uri().rstrip("/")
    book = Workbook(os.fspath(path), options)
    formats = _formats(book)
    for name, table in sheets.items():
        _write_sheets(book, name, table, formats, base)
    try:
        book.close()
    except FileCreateError as error:
        raise error.args[0] if isinstance(error.args[0], OSError) else OSError(str(error)) from None
    return csv_digest(path)


def _formats(book: Workbook) -> _Formats:
    return _Formats(
        head=book.add_format({"bold": True, "bottom": 1}),
        link=book.get_default_url_format(),
        share=book.add_format({"num_format": "0.0%"}),
        number=book.add_format({"num_format": "0.000"}),
        time=book.add_format({"num_format": "yyyy-mm-dd hh:mm"}),
    )


def _write_sheets(
    book: Workbook, name: str, table: pa.Table, formats: _Formats, base: str | None
) -> None:
    """Writes a table, in several sheets if it has more rows than one can hold."""
    rows = MAX_ROWS - 1  # beside the names of the columns
    for number, start in enumerate(range(0, max(1, table.num_rows), rows), 1):
        sheet = book.add_worksheet(name if number == 1 else f"{name} {number}")
        _write_rows(sheet, table.slice(start, rows), formats, base)


def _write_rows(sheet: Worksheet, table: pa.Table, formats: _Formats, base: str | None) -> None:
    names = table.column_names
    for column, name in enumerate(names):
        sheet.set_column(column, column, _WIDTHS.get(name, _WIDTH))
        sheet.write_string(0, column, name, formats.head)
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, table.num_rows, len(names) - 1)
    writers = [_writer(sheet, name, formats, base) for name in names]
    for row, cells in enumerate(_rows(table), 1):
        for column, (write, cell) in enumerate(zip(writers, cells, strict=True)):
            if cell is not None:
                write(row, column, cell)


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in batches(table):
        yield from zip(*(column.to_pylist() for column in decoded(batch).columns), strict=True)


def _writer(
    sheet: Worksheet, name: str, formats: _Formats, base: str | None
) -> Callable[[int, int, Any], object]:
    """The function that writes the cells of a column: row, column, value."""
    if name == "path" and base is not None:
        return functools.partial(_write_path, sheet, _Links(base, formats.link))
    if name.endswith("confidence"):
        return lambda row, column, cell: sheet.write_number(row, column, cell, formats.share)
    if name.endswith("score"):
        return lambda row, column, cell: sheet.write_number(row, column, cell, formats.number)
    if name == "new":
        return functools.partial(sheet.write_boolean)
    if name in ("run", "since"):
        return functools.partial(_write_time, sheet, formats)
    return lambda row, column, cell: sheet.write_string(row, column, cell[:_MAX_TEXT])


def _write_path(sheet: Worksheet, links: _Links, row: int, column: int, path: str) -> None:
    """Writes a path that is a link.

    The link is a formula: of other links a sheet can hold no more than 65,530, and XlsxWriter
    writes them with backslashes.
    """
    shown = printable(path)  # XML has no control characters
    link, text = links.address(path), shown.replace('"', '""')
    if max(len(link), len(text)) > _MAX_ARGUMENT:
        sheet.write_string(row, column, shown[:_MAX_TEXT])
    else:
        formula = f'=HYPERLINK("{link}","{text}")'
        sheet.write_formula(row, column, formula, links.look, shown)


def _write_time(sheet: Worksheet, formats: _Formats, row: int, column: int, text: str) -> None:
    """Writes the time of a run, which is its id or in ISO 8601, as one of this machine."""
    moment = _local(text)
    if moment is None:
        sheet.write_string(row, column, text)
    else:
        sheet.write_datetime(row, column, moment, formats.time)


@functools.lru_cache(maxsize=1024)
def _local(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(run_time(text)).astimezone().replace(tzinfo=None)
    except ValueError:
        return None
