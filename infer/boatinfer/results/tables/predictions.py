"""The tables that people and spreadsheets read: predictions.csv, review.csv, failures.csv."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.models.card import Card
from boatinfer.models.svm import SVM, best_class
from boatinfer.results.store.rows import OK, matrix
from boatinfer.results.tables.external_sort import Sorter, batches
from boatinfer.storage.base import Place

__all__ = ["Tables", "build_tables", "counts", "network_labels", "required_columns"]

#: The label of an image that is left to people.
UNSURE = "unsure"

#: Prefixes of the columns of the best, second best, ... class.
ORDINALS = [
    *("", "second_", "third_", "fourth_", "fifth_"),
    *("sixth_", "seventh_", "eighth_", "ninth_", "tenth_"),
]
_DECIMALS = 6


class Tables(NamedTuple):
    """What the two tables hold, sorted by path.

    Attributes:
        predictions: predictions.csv, and a column ``new``: whether this night worked on the image.
        failures: failures.csv.
    """

    predictions: pa.Table
    failures: pa.Table

    def count(self, new: bool) -> int:
        """How many rows `classified` gives."""
        return sum(int(pc.sum(_labelled(some, new)).as_py() or 0) for some in self._batches())

    def classified(self, new: bool) -> Iterator[pa.Table]:
        """The rows of ``predictions`` that have a label, some at a time.

        Args:
            new: whether to leave out those that this night did not work on.
        """
        for some in self._batches():
            rows = some.filter(_labelled(some, new))
            if rows.num_rows:
                yield rows

    def _batches(self) -> Iterator[pa.Table]:
        return batches(self.predictions)


def _labelled(predictions: pa.Table, new: bool) -> pa.ChunkedArray:
    labelled = pc.is_valid(predictions["label"])
    return pc.and_(labelled, predictions["new"]) if new else labelled


def network_labels(predictions: pa.Table) -> pa.ChunkedArray:
    """What the network says of each image, even of one that is labelled otherwise."""
    return predictions["guess" if "guess" in predictions.column_names else "label"]


def counts(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each text occurs."""
    found = column.value_counts().to_pylist()
    return {of["values"]: of["counts"] for of in found if of["values"] is not None}


def required_columns(card: Card, svm: SVM | None) -> list[str]:
    """The columns of the parts that `build_tables` needs."""
    columns = ["path", "status", "error", "run", "probabilities"]
    return columns + (["features"] if svm else ["svm"] if card.svm else [])


def build_tables(
    parts: Iterable[pa.Table],
    card: Card,
    *,
    new_runs: Sequence[str],
    top: int,
    svm: SVM | None,
    min_confidence: float | None,
    beside: Place,
) -> Tables:
    """Makes both tables, sorted by path.

    Args:
        parts: the `required_columns` columns of the rows of all images found, some at a time.
        card: the model's, which names the classes.
        new_runs: the runs whose images are new, `Results.new_runs`.
        top: how many classes each image's row names, 1 to 10.
        svm: adds its labels, from the features; None where there is none, or it is in the model.
        min_confidence: what is less sure is labelled `UNSURE`, with the network's label in the
            column ``guess``; None leaves that away.
        beside: a folder on the disk that is to hold large tables.

    Raises:
        OutputError: the disk is full.
    """
    predictions, failures = Sorter(["path"], beside), Sorter(["path"], beside)
    for part in parts:
        predictions.add(
            _predictions(part, new_runs, card, top=top, svm=svm, min_confidence=min_confidence)
        )
        failures.add(_failures(part))
    return Tables(predictions.table(), failures.table())


def _predictions(
    part: pa.Table,
    new_runs: Sequence[str],
    card: Card,
    *,
    top: int,
    svm: SVM | None,
    min_confidence: float | None,
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
    for rank in range(min(top, len(card.classes))):
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
    columns["new"] = pc.is_in(part["run"], pa.array(new_runs, pa.string()))
    return pa.table(columns)


def _by_svm(
    sound: pa.Table, card: Card, svm: SVM | None
) -> tuple[npt.NDArray[np.str_], npt.NDArray[Any]]:
    """Labels and scores [N] of the SVM that is a file, or of the one inside the model."""
    if svm is not None:
        return svm.classify(_matrix(sound, "features", svm.dimension))
    classes = card.svm.classes if card.svm else []
    return best_class(_matrix(sound, "svm", len(classes)), classes)


def _matrix(table: pa.Table, column: str, width: int) -> npt.NDArray[np.float32]:
    """A column of vectors; a part without any classified row may lack the column."""
    return matrix(table[column]) if table.num_rows else np.zeros((0, width), np.float32)


def _names(indices: npt.NDArray[np.int64], classes: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(indices.astype(np.int32), pa.array(classes, pa.string()))


def _rounded(values: npt.NDArray[Any]) -> pa.Array:
    return pa.array(np.round(values.astype(np.float64), _DECIMALS))


def _failures(part: pa.Table) -> pa.Table:
    """Makes rows of `Tables.failures`."""
    names = ["path", "status", "error"]
    wanted = part.filter(pc.not_equal(part["status"], OK)).select(names)
    plain = wanted.cast(pa.schema([(name, pa.string()) for name in names]))
    return plain.rename_columns(["path", "reason", "message"])
