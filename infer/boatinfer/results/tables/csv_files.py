"""Writes and reads CSV files in which spreadsheets find no formulas."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import xxhash

from boatinfer.errors import OutputError, first_line
from boatinfer.storage.base import Place
from boatinfer.storage.locations import open_for_arrow

__all__ = ["csv_digest", "csv_plain", "csv_safe", "read_csv", "write_csv"]

#: Characters that begin a formula in a spreadsheet.
_FORMULA = r"^([=+\-@\t\r])"
#: Bytes that are read for the header line, which is shorter.
_HEADER = 4096
#: Endings of the names of numeric columns.
_NUMBERS = ("confidence", "score")
#: Name of the column of truth values.
_NEW = "new"
#: Rows of a batch that is written, and bytes of a chunk that is read.
_ROWS, _CHUNK = 65_536, 2**20
#: Options of the CSV writer.
_OPTIONS = pa.csv.WriteOptions(quoting_style="needed")


def write_csv(path: Path, table: pa.Table) -> str:
    """Writes a table.

    Returns:
        The file's `csv_digest`.

    Raises:
        OSError: it could not be written.
    """
    schema = csv_safe(table.slice(0, 0)).schema
    with pa.csv.CSVWriter(path, schema, write_options=_OPTIONS) as writer:
        for start in range(0, table.num_rows, _ROWS):
            writer.write_table(csv_safe(table.slice(start, _ROWS)))
    return csv_digest(path)


def _type(name: str) -> pa.DataType:
    if name == _NEW:
        return pa.bool_()
    return pa.float64() if name.endswith(_NUMBERS) else pa.string()


def csv_digest(path: Place) -> str:
    """The xxh3-128 of a file, hex, to detect changes.

    Raises:
        OSError: it cannot be read.
    """
    digest = xxhash.xxh3_128()
    with pa.input_stream(open_for_arrow(path)) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def csv_safe(table: pa.Table) -> pa.Table:
    """Escapes text that a spreadsheet would read as a formula.

    A path ``=x.jpg`` becomes ``./=x.jpg``, which is the same file; other text is prefixed with an
    apostrophe.
    """
    for index, name in enumerate(table.column_names):
        prefix = r"./\1" if name == "path" else r"'\1"
        table = table.set_column(index, name, _safe(table[name], prefix))
    return table


def csv_plain(text: pa.Array) -> pa.Array:
    """Removes the apostrophe of `csv_safe`; not for paths."""
    return pc.replace_substring_regex(text, rf"^'{_FORMULA[1:]}", r"\1")


def _safe(column: Any, prefix: str) -> Any:
    """Escapes an array, chunked or not; of a dictionary array only the values."""
    if pa.types.is_string(column.type):
        return pc.replace_substring_regex(column, _FORMULA, prefix)
    if not pa.types.is_dictionary(column.type):
        return column
    encoded = column.combine_chunks()
    values = _safe(encoded.dictionary, prefix)
    return pa.DictionaryArray.from_arrays(encoded.indices, values).cast(pa.string())


def read_csv(path: Place, required: Collection[str]) -> pa.Table:
    """Reads a table that `write_csv` has written, with the types of its columns.

    Args:
        path: the file.
        required: columns that it must have; the path column must have no empty cell.

    Raises:
        OutputError: it is damaged or missing.
    """
    try:
        with pa.input_stream(open_for_arrow(path)) as file:
            names = file.read(_HEADER).split(b"\n")[0].decode().replace('"', "").split(",")
        types = {name: _type(name) for name in names}
        table = pa.csv.read_csv(
            open_for_arrow(path),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=types,
                null_values=[""],  # a class may be called NA
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        if any(table.column_names.count(name) != 1 for name in required):
            raise ValueError("a column is missing, or there twice")
        if any(table[name].null_count for name in ("path", _NEW) if name in table.column_names):
            raise ValueError("a cell is empty")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise OutputError(
            f"{path} cannot be read ({first_line(error)}); run again to rewrite it."
        ) from error
    for index, name in enumerate(table.column_names):
        if name == "path":
            plain = pc.replace_substring_regex(table[name], r"^\./", "")
            table = table.set_column(index, name, plain)
        elif pa.types.is_string(table[name].type):
            table = table.set_column(index, name, csv_plain(table[name]))
    return table
