"""What the footer of a part says of its rows, without reading them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["features_there"]


def features_there(file: pq.ParquetFile, classified: npt.NDArray[np.bool_]) -> pa.Array:
    """Which rows of a part have features: bool [N].

    Mostly the footer says it of a whole row group: reading the vectors would take far longer than
    all other columns.

    Args:
        file: the part.
        classified: bool [N]; no other row has features.
    """
    there = np.zeros(len(classified), np.bool_)
    start = 0
    for number in range(file.num_row_groups if "features" in file.schema_arrow.names else 0):
        group = file.metadata.row_group(number)
        rows = slice(start, start + group.num_rows)
        nulls = _nulls(group)
        if nulls == np.count_nonzero(~classified[rows]):
            there[rows] = classified[rows]
        elif nulls != group.num_rows:
            vectors = file.read_row_group(number, ["features"])["features"]
            there[rows] = vectors.is_valid().to_numpy()
        start = rows.stop
    return pa.array(there)


def _nulls(group: pq.RowGroupMetaData) -> int | None:
    """The number of rows without features, if the footer says it."""
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema.startswith("features."):
            statistics = column.statistics
            return statistics.null_count if statistics and statistics.has_null_count else None
    return None
