"""Builds the tables of a results folder from the parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.models.card import Card
from boatinfer.models.svm import SVM, best_class
from boatinfer.results.reviewed import Reviewed
from boatinfer.results.store.rows import OK, matrix, modernised, table
from boatinfer.results.summary import run_time
from boatinfer.results.tables.external_sort import Sorter, batches
from boatinfer.results.tables.whole import MAX_BYTES, whole_rows
from boatinfer.storage.base import Place

__all__ = [
    "LABELS",
    "SEPARATOR",
    "TO_REVIEW",
    "UNKNOWN",
    "UNSURE",
    "Tables",
    "build_tables",
    "counts",
    "network_labels",
    "required_columns",
    "unreviewed",
]

#: The label of an image below the abstention threshold, which is for manual review.
UNSURE = "unsure"
#: The label of an image that is more novel than the limit.
UNKNOWN = "unknown"
#: The labels of images for manual review.
TO_REVIEW = (UNKNOWN, UNSURE)

#: The column of all labels of an image by a multi-label model, and what separates them.
LABELS, SEPARATOR = "labels", ";"

#: Prefixes of the columns of the most probable class, the second, and so on.
ORDINALS = [
    *("", "second_", "third_", "fourth_", "fifth_"),
    *("sixth_", "seventh_", "eighth_", "ninth_", "tenth_"),
]
_DECIMALS = 4


class Tables(NamedTuple):
    """The contents of the tables, sorted by path.

    In all, ``new`` says whether the image is new, changed, or classified by another model than
    before; an unchanged image that has failed before is not.

    Attributes:
        predictions: predictions.csv.
        failures: failures.csv.
        whole: predictions.parquet, `whole_rows`; None if it is not to be written.
    """

    predictions: pa.Table
    failures: pa.Table
    whole: Sorter | None = None

    def count(self, new: bool) -> int:
        """Number of rows of `classified`."""
        return sum(int(pc.sum(_labelled(batch, new)).as_py() or 0) for batch in self._batches())

    def classified(self, new: bool) -> Iterator[pa.Table]:
        """The rows of ``predictions`` that have a label, in batches.

        Args:
            new: whether to return only rows of new images.
        """
        for batch in self._batches():
            rows = batch.filter(_labelled(batch, new))
            if rows.num_rows:
                yield rows

    def as_of(self, runs: Sequence[str]) -> Tables:
        """The tables with the images that were new in earlier runs as the new ones.

        Of these, the images that are gone or have changed since are missing.

        Args:
            runs: the runs, `Results.new_runs`, the latest first.
        """
        times = pa.array([run_time(run) for run in runs], pa.string())
        since = self.failures["since"].cast(pa.string())
        failures = _with_new(self.failures, pc.is_in(since, times))
        failures = failures.filter(pc.less_equal(since, run_time(runs[0])))
        ran = self.predictions["run"].cast(pa.string())
        new = pc.is_in(ran, pa.array(runs, pa.string()))
        return self._replace(predictions=_with_new(self.predictions, new), failures=failures)

    def _batches(self) -> Iterator[pa.Table]:
        return batches(self.predictions)


def _with_new(table: pa.Table, new: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index("new"), "new", new)


def _labelled(predictions: pa.Table, new: bool) -> pa.ChunkedArray:
    labelled = pc.is_valid(predictions["label"])
    return pc.and_(labelled, predictions["new"]) if new else labelled


def unreviewed(predictions: pa.Table) -> pa.Table:
    """The rows that nobody has labelled."""
    if "reviewed" not in predictions.column_names:
        return predictions
    return predictions.filter(pc.is_null(predictions["reviewed"]))


def network_labels(predictions: pa.Table) -> pa.ChunkedArray:
    """The network's predicted class of each image, whatever its label is."""
    return predictions["guess" if "guess" in predictions.column_names else "label"]


def counts(column: pa.ChunkedArray) -> dict[str, int]:
    """Counts of the values of a text column."""
    entries = column.value_counts().to_pylist()
    return {entry["values"]: entry["counts"] for entry in entries if entry["values"] is not None}


def required_columns(
    card: Card, svm: SVM | None, features: bool, reviewed: Reviewed | None = None
) -> list[str]:
    """The columns of the parts that `build_tables` reads.

    Args:
        card: the model's card.
        svm: as of `build_tables`.
        features: likewise.
        reviewed: likewise.
    """
    columns = ["path", "status", "error", "run", "since", "probabilities"]
    columns += ["content"] if reviewed else []
    columns += ["svm"] if card.svm and not svm else []
    columns += ["novelty"] if card.novelty else []
    return columns + (["features"] if svm or features else [])


def build_tables(
    parts: Iterable[pa.Table],
    card: Card,
    *,
    new_runs: Sequence[str],
    top: int,
    svm: SVM | None,
    min_confidence: float | None,
    max_novelty: float | None,
    parquet: bool,
    features: bool,
    scratch_folder: Place,
    reviewed: Reviewed | None = None,
) -> Tables:
    """Builds the tables, sorted by path.

    Args:
        parts: the `required_columns` columns of the rows of all images found, in batches.
        card: the model's card, which names the classes.
        new_runs: the runs whose images are new, `Results.new_runs`.
        top: number of classes in each image's row, 1 to 10.
        svm: an SVM that classifies the features; None if there is none, or if it is in the model.
        min_confidence: the abstention threshold: less confident images are labelled `UNSURE`, with
            the predicted class in the column ``guess``; None for no threshold.
        max_novelty: more novel images are labelled `UNKNOWN`, likewise; None for no limit.
        parquet: whether to build `Tables.whole`.
        features: whether the features are in it.
        scratch_folder: a folder on the disk for temporary files.
        reviewed: what people have said of the images; None for no such column.

    Raises:
        OutputError: the disk is full.
    """
    predictions, failures = Sorter(["path"], scratch_folder), Sorter(["path"], scratch_folder)
    whole = Sorter(["path"], scratch_folder, MAX_BYTES) if parquet else None
    for part in _one_at_least(parts, card):
        rows = _predictions(
            part,
            new_runs,
            card,
            top=top,
            svm=svm,
            min_confidence=min_confidence,
            max_novelty=max_novelty,
            reviewed=reviewed,
        )
        predictions.add(_rounded(rows))
        failures.add(_failures(part, new_runs))
        if whole is not None:
            whole.add(whole_rows(part, rows, features))
    return Tables(predictions.table(), failures.table(), whole)


def _one_at_least(parts: Iterable[pa.Table], card: Card) -> Iterator[pa.Table]:
    """The parts; one without rows, which has the columns, where there are none."""
    there = False
    for part in parts:
        there = True
        yield part
    if not there:
        yield table([], card.classes, "", "")


def _predictions(
    part: pa.Table,
    new_runs: Sequence[str],
    card: Card,
    *,
    top: int,
    svm: SVM | None,
    min_confidence: float | None,
    max_novelty: float | None,
    reviewed: Reviewed | None,
) -> pa.Table:
    classified = pc.equal(part["status"], OK).combine_chunks()
    classified_rows = part.filter(classified)
    # For each row its index among the classified ones, or null for a failure.
    positions = np.cumsum(classified.to_numpy(zero_copy_only=False)) - 1
    row_indices = pc.if_else(classified, pa.array(positions), None)

    columns: dict[str, Any] = {"path": part["path"]}
    probabilities = _matrix(classified_rows, "probabilities", len(card.classes)).copy()
    indices = np.arange(len(probabilities))
    highest = probabilities.max(axis=1, initial=0)
    for rank in range(min(top, len(card.classes))):
        best = probabilities.argmax(axis=1)  # faster than sorting
        confidences = pa.array(probabilities[indices, best])
        columns[f"{ORDINALS[rank]}label"] = _names(best, card.classes).take(row_indices)
        columns[f"{ORDINALS[rank]}confidence"] = confidences.take(row_indices)
        probabilities[indices, best] = -np.inf
    columns["status"] = part["status"].dictionary_encode()
    if min_confidence is not None:
        columns["guess"] = columns["label"]
        confident = pa.array(highest >= min_confidence).take(row_indices)
        columns["label"] = pc.if_else(confident, columns["guess"].cast(pa.string()), UNSURE)
        columns["label"] = columns["label"].dictionary_encode()
    if svm is not None or card.svm is not None:
        labels, scores = _svm_predictions(classified_rows, card, svm)
        columns["svm_label"] = pa.array(labels.tolist(), pa.string()).take(row_indices)
        columns["svm_score"] = pa.array(scores).take(row_indices)
    columns["run"] = part["run"].dictionary_encode()
    columns["new"] = _new(part, new_runs)
    if card.novelty is not None:
        columns["novelty"] = modernised(part)["novelty"]
        if max_novelty is not None:
            columns.setdefault("guess", columns["label"])
            columns["label"] = _unknown_labelled(columns["label"], columns["novelty"], max_novelty)
    if reviewed is not None:
        columns["reviewed"] = reviewed.of(part["content"])
    if card.thresholds is not None:
        columns[LABELS] = _labels(classified_rows, card).take(row_indices)
    return pa.table(columns)


def _unknown_labelled(
    labels: pa.ChunkedArray, novelty: pa.ChunkedArray, max_novelty: float
) -> pa.ChunkedArray:
    """Labels, those of more novel images replaced; rows of older runs may lack their novelty."""
    unknown = pc.fill_null(pc.greater(novelty, max_novelty), False)
    return pc.if_else(unknown, UNKNOWN, labels.cast(pa.string())).dictionary_encode()


def _labels(classified_rows: pa.Table, card: Card) -> pa.Array:
    """The labels that reach their thresholds, the most probable first."""
    probabilities = _matrix(classified_rows, "probabilities", len(card.classes))
    order = np.argsort(-probabilities, axis=1, kind="stable")
    reached = probabilities >= np.array(card.thresholds, np.float32)
    names = np.array(card.classes, object)
    rows = [names[ranks[has[ranks]]] for ranks, has in zip(order, reached, strict=True)]
    return pa.array([SEPARATOR.join(row) for row in rows], pa.string())


def _new(part: pa.Table, new_runs: Sequence[str]) -> pa.ChunkedArray:
    first_run = part["run"]
    if "since" in part.column_names:
        first_run = pc.coalesce(part["since"], first_run)
    return pc.is_in(first_run, pa.array(new_runs, pa.string()))


def _svm_predictions(
    classified_rows: pa.Table, card: Card, svm: SVM | None
) -> tuple[npt.NDArray[np.str_], npt.NDArray[Any]]:
    """Labels and scores [N] of the SVM file, or of the SVM inside the model."""
    if svm is not None:
        return svm.classify(_matrix(classified_rows, "features", svm.dimension))
    classes = card.svm.classes if card.svm else []
    return best_class(_matrix(classified_rows, "svm", len(classes)), classes)


def _matrix(table: pa.Table, column: str, width: int) -> npt.NDArray[np.float32]:
    """A column of vectors; a part without classified rows may lack the column."""
    return matrix(table[column]) if table.num_rows else np.zeros((0, width), np.float32)


def _names(indices: npt.NDArray[np.int64], classes: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(indices.astype(np.int32), pa.array(classes, pa.string()))


def _rounded(predictions: pa.Table) -> pa.Table:
    """Rounds confidences and scores, as predictions.csv has them."""
    for place, field in enumerate(predictions.schema):
        if pa.types.is_floating(field.type):
            values = predictions[field.name].combine_chunks().cast(pa.float64())
            rounded = np.round(values.fill_null(0).to_numpy(), _DECIMALS)
            column = pc.if_else(values.is_valid(), pa.array(rounded), None)
            predictions = predictions.set_column(place, field.name, column)
    return predictions


def _failures(part: pa.Table, new_runs: Sequence[str]) -> pa.Table:
    """Makes rows of `Tables.failures`."""
    failed = part.filter(pc.not_equal(part["status"], OK))
    since = failed["since" if "since" in failed.column_names else "run"]
    runs = pc.coalesce(since, failed["run"]).cast(pa.string()).combine_chunks().dictionary_encode()
    times = pa.array([run_time(run) for run in runs.dictionary.to_pylist()], pa.string())
    return pa.table(
        {
            "path": failed["path"],
            "reason": failed["status"].cast(pa.string()),
            "message": failed["error"].cast(pa.string()),
            "since": times.take(runs.indices),
            "new": _new(failed, new_runs),
        }
    )
