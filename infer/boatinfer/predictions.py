"""The tables that people and spreadsheets read: predictions.csv, review.csv, failures.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from boatinfer.abstention import UNSURE
from boatinfer.card import Card
from boatinfer.files import replacing, writing
from boatinfer.parts import OK, matrix
from boatinfer.results import Results, csv_safe
from boatinfer.svm import SVM, best

__all__ = ["write_tables"]

#: Prefixes of the columns of the best, second best, ... class.
ORDINALS = [
    *("", "second_", "third_", "fourth_", "fifth_"),
    *("sixth_", "seventh_", "eighth_", "ninth_", "tenth_"),
]
_DECIMALS = 6


def write_tables(
    results: Results,
    rows: pa.Table,
    card: Card,
    top: int,
    svm: SVM | None,
    *,
    min_confidence: float | None = None,
) -> tuple[pa.Table, pa.Table]:
    """Writes predictions.csv and failures.csv, sorted by path, and review.csv, least sure first.

    Args:
        results: the folder.
        rows: the rows of `Parts.index` that this run found.
        card: the model's, which names the classes.
        top: how many classes each image's row names, 1 to 10.
        svm: adds its labels, from the features; None where there is none, or it is in the model.
        min_confidence: what is less sure is labelled `UNSURE` and listed in review.csv, with the
            network's label in the column ``guess``; None leaves both away.

    Returns:
        What predictions.csv and failures.csv hold.

    Raises:
        OutputError: a table could not be written, or a part is damaged.
    """
    needed = ["path", "status", "probabilities"]
    needed += ["features"] if svm else ["svm"] if card.svm else []
    tables = [
        _predictions(part, card, min(top, len(card.classes)), svm, min_confidence)
        for part in results.parts.read(rows, needed)
    ]
    predictions = pa.concat_tables(tables).unify_dictionaries().sort_by("path")
    failed = _failures(results, rows)
    _write_csv(failed, results.failures)
    _write_review(results, predictions, min_confidence)
    _write_csv(predictions, results.predictions)
    return predictions, failed


def _predictions(
    part: pa.Table, card: Card, top: int, svm: SVM | None, min_confidence: float | None
) -> pa.Table:
    classified = pc.equal(part["status"], OK).combine_chunks()
    sound = part.filter(classified)
    # For each row its place among the classified ones, or null: taking by it leaves gaps.
    places = np.cumsum(classified.to_numpy(zero_copy_only=False)) - 1
    gaps = pc.if_else(classified, pa.array(places), None)

    columns: dict[str, Any] = {"path": part["path"]}
    probabilities = _matrix(sound, "probabilities", len(card.classes)).copy()
    every = np.arange(len(probabilities))
    highest = probabilities.max(axis=1, initial=0)
    for rank in range(top):
        best = probabilities.argmax(axis=1)  # faster than sorting all of them
        columns[f"{ORDINALS[rank]}label"] = _names(best, card.classes).take(gaps)
        columns[f"{ORDINALS[rank]}confidence"] = _rounded(probabilities[every, best]).take(gaps)
        probabilities[every, best] = -np.inf
    columns["status"] = part["status"].dictionary_encode()
    if min_confidence is not None:
        columns["guess"] = columns["label"]
        sure = pa.array(highest >= min_confidence).take(gaps)
        columns["label"] = pc.if_else(sure, columns["guess"].cast(pa.string()), UNSURE)
        columns["label"] = columns["label"].dictionary_encode()
    if svm is not None or card.svm is not None:
        labels, scores = _by_svm(sound, card, svm)
        columns["svm_label"] = pa.array(labels.tolist(), pa.string()).take(gaps)
        columns["svm_score"] = _rounded(scores).take(gaps)
    return pa.table(columns)


def _by_svm(
    sound: pa.Table, card: Card, svm: SVM | None
) -> tuple[npt.NDArray[np.str_], npt.NDArray[Any]]:
    """Labels and scores [N] of the SVM that is a file, or of the one inside the model."""
    if svm is not None:
        return svm.classify(_matrix(sound, "features", svm.dimension))
    classes = card.svm.classes if card.svm else []
    return best(_matrix(sound, "svm", len(classes)), classes)


def _matrix(table: pa.Table, column: str, width: int) -> npt.NDArray[np.float32]:
    """A column of vectors; a part without any classified row may lack the column."""
    return matrix(table[column]) if table.num_rows else np.zeros((0, width), np.float32)


def _names(indices: npt.NDArray[np.int64], classes: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(indices.astype(np.int32), pa.array(classes, pa.string()))


def _rounded(values: npt.NDArray[Any]) -> pa.Array:
    return pa.array(np.round(values.astype(np.float64), _DECIMALS))


def _failures(results: Results, rows: pa.Table) -> pa.Table:
    failed = rows.filter(pc.not_equal(rows["status"], OK))
    columns = ["path", "status", "error"]
    parts = list(results.parts.read(failed, columns))
    kinds = pa.schema([(name, pa.string()) for name in columns])
    table = pa.concat_tables(parts) if parts else kinds.empty_table()
    return table.sort_by("path").rename_columns(["path", "reason", "message"])


def _write_review(results: Results, predictions: pa.Table, min_confidence: float | None) -> None:
    """Writes review.csv, or removes an older run's: it would be of another threshold."""
    if min_confidence is None:
        with writing(results.review):
            results.review.unlink(missing_ok=True)
        return
    unsure = predictions.filter(pc.equal(predictions["label"].cast(pa.string()), UNSURE))
    order = [("confidence", "ascending"), ("path", "ascending")]
    _write_csv(unsure.sort_by(order), results.review)


def _write_csv(table: pa.Table, path: Path) -> None:
    with replacing(path) as temporary:
        pa.csv.write_csv(csv_safe(table), temporary, pa.csv.WriteOptions(quoting_style="needed"))
