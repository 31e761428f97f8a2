"""The rows of a part: one for each image worked on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from boatinfer.models.inference import Floats

__all__ = ["OK", "VECTORS", "Row", "has_vectors", "matrix", "modernised", "table"]

#: Status of a row whose image was classified; any other status is a failure reason.
OK = "ok"

#: Columns of vectors. Every part has all; the last two are null where they were not asked for.
VECTORS = ("probabilities", "features", "svm")


@dataclass(slots=True)
class Row:
    """One image's row, as a worker fills it.

    Attributes:
        path: text of the path relative to the scanned folder.
        bytes: size when the file was read, or listed if it could not be read; -1 if unknown.
        mtime_ns: last change, nanoseconds since 1970; likewise.
        content: xxh3-128 of the file, hex; None if it could not be read.
        status: ``ok`` or a failure reason.
        error: the error; for a classified image the decoder's message, which begins with
            `boatinfer.errors.WARNING` unless the image is damaged; None if there was none.
        probabilities: float32 [C]; None for a failure.
        features: float32 [D]; None for a failure, or if not requested.
        svm: float32 [K], scores of the SVM inside the model; None for a failure, or without one.
        novelty: how unlike the training images it is, from 0 to 1; None for a failure, or if the
            model does not say so.
        duplicate_of: position of an earlier row of the same content, from `ContentIndex.find`;
            `ContentIndex.fill` copies its results.
        run: the run that classified the image, if not this one.
        since: of a failure the first run in which the unchanged image failed, if not this one.
    """

    path: str
    bytes: int
    mtime_ns: int
    content: str | None = None
    status: str = OK
    error: str | None = None
    probabilities: Floats | None = None
    features: Floats | None = None
    svm: Floats | None = None
    novelty: float | None = None
    duplicate_of: int | None = None
    run: str | None = None
    since: str | None = None


def has_vectors(rows: pa.Table, name: str) -> bool:
    """Whether each of the rows has a vector; those of older parts may lack the column."""
    return name in rows.column_names and not rows[name].null_count


def modernised(rows: pa.Table) -> pa.Table:
    """Gives rows of an older part the columns of `table`; other columns stay, before them.

    Older parts have vectors of a fixed size, and only those that were asked for, and no novelty.
    """
    import pyarrow as pa

    type_ = pa.list_(pa.float32())
    vectors = {
        name: rows[name].cast(type_) if name in rows.column_names else pa.nulls(len(rows), type_)
        for name in VECTORS
    }
    last: dict[str, Any] = dict(vectors)
    there = "novelty" in rows.column_names
    last["novelty"] = rows["novelty"] if there else pa.nulls(len(rows), pa.float32())
    rows = rows.drop_columns([name for name in last if name in rows.column_names])
    for name, column in last.items():
        rows = rows.append_column(name, column)
    return rows


def matrix(column: pa.ChunkedArray) -> Floats:
    """Converts a column of vectors, without nulls, to float32 [N, D]."""
    vectors = column.combine_chunks()
    if vectors.null_count:
        raise ValueError("a vector is missing")
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(vectors), -1)


def table(rows: Sequence[Row], classes: Sequence[str], model: str, run: str) -> pa.Table:
    """Makes a part's table of rows, as docs/results.md describes it.

    Args:
        rows: what is recorded of each image.
        classes: the model's class names, in the order of the probabilities.
        model: SHA-256 of the model file, hex.
        run: run of the rows that have no `Row.run`.
    """
    import pyarrow as pa  # not loaded in worker processes, which only use rows

    failed = np.array([row.probabilities is None for row in rows], np.bool_)
    probabilities = _stacked([row.probabilities for row in rows], len(classes))
    best = pa.array(probabilities.argmax(axis=1), mask=failed)
    columns: dict[str, Any] = {
        "path": pa.array([row.path for row in rows], pa.string()),
        "bytes": pa.array([row.bytes for row in rows], pa.int64()),
        "mtime_ns": pa.array([row.mtime_ns for row in rows], pa.int64()),
        "content": pa.array([row.content for row in rows], pa.string()),
        "model": pa.array([model] * len(rows), pa.string()),
        "run": pa.array([row.run or run for row in rows], pa.string()),
        "status": pa.array([row.status for row in rows], pa.string()),
        "since": pa.array([row.since or run for row in rows], pa.string(), mask=~failed),
        "error": pa.array([row.error for row in rows], pa.string()),
        "label": pa.array(classes, pa.string()).take(best),
        "confidence": pa.array(probabilities.max(axis=1), mask=failed),
        **{name: _vectors([getattr(row, name) for row in rows]) for name in VECTORS},
        "novelty": pa.array([row.novelty for row in rows], pa.float32()),
    }
    return pa.table(columns)


def _stacked(vectors: Sequence[Floats | None], dimension: int) -> Floats:
    """Stacks vectors to a matrix, with zeros for missing ones."""
    zeros = np.zeros(dimension, np.float32)
    stacked = [zeros if vector is None else vector for vector in vectors]
    return np.stack(stacked) if stacked else np.zeros((0, dimension), np.float32)


def _vectors(vectors: Sequence[Floats | None]) -> pa.Array:
    """Makes a column of lists; of no fixed size, so that parts of all models have one type."""
    import pyarrow as pa

    sizes = [0 if vector is None else len(vector) for vector in vectors]
    ends = np.cumsum([0, *sizes], dtype=np.int32)
    there = [vector for vector in vectors if vector is not None]
    flat = np.concatenate(there) if there else np.zeros(0, np.float32)
    missing = pa.array([vector is None for vector in vectors], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat, pa.float32()), mask=missing)
