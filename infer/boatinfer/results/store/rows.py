"""The rows of a part: one for each image worked on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

    from boatinfer.models.inference import Floats

__all__ = ["OK", "VECTORS", "Row", "matrix", "table"]

#: Status of a row whose image was classified; any other status is a failure reason.
OK = "ok"

#: Columns of vectors; only the first is in every part.
VECTORS = ("probabilities", "features", "svm")


@dataclass(slots=True)
class Row:
    """One image's row, as a worker fills it.

    Attributes:
        path: text of the path relative to the scanned folder.
        bytes: size when it was read; of a file that could not be read, when it was listed, or -1
            if even that could not be told.
        mtime_ns: last change, nanoseconds since 1970; likewise.
        content: xxh3-128 of the file, hex; None if it could not be read.
        status: ``ok`` or a failure reason.
        error: what went wrong; of a classified image a note of its decoder, which begins with
            `boatinfer.errors.WARNING` unless the image is damaged; None if there is nothing to say.
        probabilities: float32 [C]; None for a failure.
        features: float32 [D]; None for a failure, or if not asked for.
        svm: float32 [K], scores of the SVM inside the model; None for a failure, or without one.
        duplicate_of: where an earlier row of the same content is, as `ContentIndex.find` says;
            `ContentIndex.fill` then copies what that row holds.
        run: the run that classified the image, if it was not this one.
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
    duplicate_of: int | None = None
    run: str | None = None


def matrix(column: pa.ChunkedArray) -> Floats:
    """Turns a column of vectors, without nulls, into float32 [N, D]."""
    vectors = column.combine_chunks()
    if vectors.null_count:
        raise ValueError("a vector is missing")
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(vectors), -1)


def table(rows: Sequence[Row], classes: Sequence[str], model: str, run: str) -> pa.Table:
    """Makes a part's table of rows, as docs/results.md describes it.

    Args:
        rows: at least one.
        classes: the model's class names, in the order of the probabilities.
        model: SHA-256 of the model file, hex.
        run: of the rows that name none.
    """
    import pyarrow as pa  # worker processes have rows, and no tables

    failed = np.array([row.probabilities is None for row in rows])
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
        "error": pa.array([row.error for row in rows], pa.string()),
        "label": pa.array(classes, pa.string()).take(best),
        "confidence": pa.array(probabilities.max(axis=1), mask=failed),
        "probabilities": _vectors(probabilities, failed),
    }
    for name in VECTORS[1:]:
        vectors = [getattr(row, name) for row in rows]
        dimension = next((len(vector) for vector in vectors if vector is not None), 0)
        if dimension:
            columns[name] = _vectors(_stacked(vectors, dimension), failed)
    return pa.table(columns)


def _stacked(vectors: Sequence[Floats | None], dimension: int) -> Floats:
    """Makes a matrix of vectors, with zeros for those that are missing."""
    nothing = np.zeros(dimension, np.float32)
    return np.stack([nothing if vector is None else vector for vector in vectors])


def _vectors(matrix: Floats, missing: npt.NDArray[np.bool_]) -> pa.Array:
    import pyarrow as pa

    flat = pa.array(matrix.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1], mask=pa.array(missing))
