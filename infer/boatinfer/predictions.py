"""The two tables that people and spreadsheets read: predictions.csv and failures.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from boatinfer.files import replacing
from boatinfer.results import OK, Results, csv_path, matrix, writing
from boatinfer.svm import SVM

__all__ = ["ORDINALS", "write_tables"]

#: Prefixes of the columns of the best, second best, ... class.
ORDINALS = [
    *("", "second_", "third_", "fourth_", "fifth_"),
    *("sixth_", "seventh_", "eighth_", "ninth_", "tenth_"),
]
_DECIMALS = 6


def write_tables(
    results: Results, rows: pa.Table, classes: list[str], top: int, svm: SVM | None
) -> pa.Table:
    """Writes predictions.csv and failures.csv, sorted by path.

    Args:
        results: the folder.
        rows: the rows of `Results.index` that this run found.
        classes: the model's class names.
        top: how many classes each image's row names, 1 to 10.
        svm: adds its labels, from the features.

    Returns:
        What predictions.csv holds.

    Raises:
        OutputError: a table could not be written, or a part is damaged.
    """
    needed = ["path", "status", "probabilities", *(["features"] if svm else [])]
    tables = [
        _predictions(part, classes, min(top, len(classes)), svm)
        for part in results.read(rows, needed)
    ]
    predictions = pa.concat_tables(tables).sort_by("path")
    failed = rows.filter(pc.not_equal(rows["status"], OK)).sort_by("path")
    failures = pa.table(
        {"path": failed["path"], "reason": failed["status"], "message": failed["error"]}
    )
    with writing(results.out):
        _write_csv(failures, results.failures)
        _write_csv(predictions, results.predictions)
    return predictions


def _predictions(part: pa.Table, classes: list[str], top: int, svm: SVM | None) -> pa.Table:
    classified = pc.equal(part["status"], OK).to_numpy()
    sound = part.filter(pa.array(classified))
    probabilities = (
        matrix(sound["probabilities"]) if sound.num_rows else np.zeros((0, len(classes)))
    )
    order = np.argsort(-probabilities, axis=1, kind="stable")
    names = np.array(classes, dtype=object)
    columns = {"path": part["path"]}
    for rank in range(top):
        best = order[:, rank]
        found = np.take_along_axis(probabilities, best[:, None], axis=1)[:, 0]
        columns[f"{ORDINALS[rank]}label"] = _spread(names[best], classified, pa.string())
        columns[f"{ORDINALS[rank]}confidence"] = _spread(_rounded(found), classified, pa.float64())
    columns["status"] = part["status"]
    if svm is not None:
        labels, scores = svm.classify(
            matrix(sound["features"])
            if sound.num_rows
            else np.zeros((0, svm.dimension), np.float32)
        )
        columns["svm_label"] = _spread(labels.astype(object), classified, pa.string())
        columns["svm_score"] = _spread(_rounded(scores), classified, pa.float64())
    return pa.table(columns)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.round(values.astype(np.float64), _DECIMALS)


def _spread(values: np.ndarray, classified: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Puts values into the rows that were classified and null into the others."""
    column = np.full(len(classified), None, dtype=object)
    column[classified] = values
    return pa.array(column, kind)


def _write_csv(table: pa.Table, path: Path) -> None:
    safe = [csv_path(name) for name in table["path"].to_pylist()]
    table = table.set_column(0, "path", pa.array(safe, pa.string()))
    with replacing(path) as temporary:
        pa.csv.write_csv(table, temporary, pa.csv.WriteOptions(quoting_style="needed"))
