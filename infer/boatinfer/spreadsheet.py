"""Text that a spreadsheet would take for a formula, made harmless and read back."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["csv_plain", "csv_safe"]

#: What a spreadsheet takes for the start of a formula.
_FORMULA = r"^([=+\-@\t\r])"


def csv_safe(table: pa.Table) -> pa.Table:
    """Keeps a spreadsheet from taking text for a formula.

    A path ``=x.jpg`` becomes ``./=x.jpg``, which is the same file; other text gets an
    apostrophe before it.
    """
    for number, name in enumerate(table.column_names):
        before = r"./\1" if name == "path" else r"'\1"
        table = table.set_column(number, name, _safe(table[name], before))
    return table


def csv_plain(text: pa.Array) -> pa.Array:
    """Takes from text of a table, other than paths, what `csv_safe` put before it."""
    return pc.replace_substring_regex(text, rf"^'{_FORMULA[1:]}", r"\1")


def _safe(column: Any, before: str) -> Any:
    """An array, chunked or not; of a dictionary just the values are looked through."""
    if pa.types.is_string(column.type):
        return pc.replace_substring_regex(column, _FORMULA, before)
    if not pa.types.is_dictionary(column.type):
        return column
    encoded = column.combine_chunks()
    values = _safe(encoded.dictionary, before)
    return pa.DictionaryArray.from_arrays(encoded.indices, values).cast(pa.string())
