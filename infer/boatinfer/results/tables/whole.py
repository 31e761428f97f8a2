"""Writes predictions.parquet: all that is known of every image of a run, for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from boatinfer.results.store.rows import modernised
from boatinfer.results.summary import Summary
from boatinfer.results.tables.csv_files import csv_digest
from boatinfer.results.tables.external_sort import decoded

__all__ = ["MAX_BYTES", "whole_rows", "write_whole"]

#: More bytes of rows than this are sorted on disk.
MAX_BYTES = 32 * 2**20

#: A row group has this many rows, or about this many bytes.
_GROUP_ROWS, _GROUP_BYTES = 65_536, 16 * 2**20

#: Columns whose values are nearly all different.
_DISTINCT = {"path", "error"}


def whole_rows(part: pa.Table, predictions: pa.Table, features: bool) -> pa.Table:
    """Makes rows of predictions.parquet, without ``model``.

    Args:
        part: rows of a part.
        predictions: the same rows of predictions.csv, with all digits.
        features: whether to keep the features that the rows have.
    """
    rows = modernised(part)
    for name in ("error", "probabilities"):
        predictions = predictions.append_column(name, rows[name])
    vectors = rows["features"]
    kept = vectors if features else pa.nulls(rows.num_rows, vectors.type)
    return predictions.append_column("features", kept)


def write_whole(path: Path, tables: Iterable[pa.Table], summary: Summary) -> str:
    """Writes predictions.parquet, a row group at a time.

    Args:
        path: the file to write.
        tables: `whole_rows`, together sorted by path; at least one table, which may be empty.
        summary: of the run; the names of its classes stand in the metadata of the file.

    Returns:
        The file's digest, `csv_digest`.

    Raises:
        OSError: it could not be written.
    """
    rows = (_with_model(decoded(table), summary.model) for table in tables)
    groups = _groups(rows)
    first = next(groups)
    schema = first.schema.with_metadata(_metadata(summary))
    repeated = [
        field.name
        for field in schema
        if pa.types.is_string(field.type) and field.name not in _DISTINCT
    ]
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated) as writer:
        writer.write_table(first)
        for group in groups:
            writer.write_table(group)
    return csv_digest(path)


def _metadata(summary: Summary) -> dict[str, bytes]:
    return {
        "boatinfer.classes": msgspec.json.encode(summary.classes),
        "boatinfer.model_name": summary.model_name.encode(),
        "boatinfer.run": summary.run.encode(),
    }


def _with_model(rows: pa.Table, model: str) -> pa.Table:
    place = rows.column_names.index("error")
    return rows.add_column(place, "model", pa.array([model] * rows.num_rows, pa.string()))


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Gathers tables to row groups; yields at least one, which may be empty."""
    gathered: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        gathered.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.concat_tables(gathered)
            gathered, rows, size = [table.slice(0, 0)], 0, 0
    if gathered:
        yield pa.concat_tables(gathered)
