"""Writes and reads the tables of a results folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.errors import OutputError
from boatinfer.results.folder import Results
from boatinfer.results.model_change import ModelChange, compare_labels
from boatinfer.results.summary import Summary, run_time
from boatinfer.results.tables.csv_files import read_csv, write_csv
from boatinfer.results.tables.external_sort import Sorter, batches
from boatinfer.results.tables.predictions import ORDINALS, TO_REVIEW, Tables, unreviewed
from boatinfer.results.tables.spreadsheet import write_spreadsheet
from boatinfer.results.tables.whole import write_whole
from boatinfer.storage.base import Place
from boatinfer.storage.files import atomic_write, translate_write_errors

__all__ = ["read_tables", "review_rows", "write_tables"]


def write_tables(results: Results, tables: Tables, summary: Summary, xlsx: bool = False) -> Summary:
    """Writes predictions.csv, predictions.parquet, failures.csv and, with a limit, review.csv.

    The last has the images for manual review, least confident first. A table that this run does not
    write is removed if an earlier one has written it. All are written before the first is renamed,
    so that a failed write leaves the tables of the run before.

    Returns:
        The summary with the digests of the tables, and what another model has changed.

    Raises:
        OutputError: a table could not be written.
    """
    results.parts.check()
    predictions = tables.predictions
    change = _model_change(results, predictions, summary)
    written = {results.failures: tables.failures, results.predictions: predictions}
    review = review_rows(results, predictions, summary)
    if review is not None:
        written = {results.review: review, **written}
    digests: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for path, table in written.items():
            digests[path.name] = write_csv(stack.enter_context(atomic_write(path)), table)
        if tables.whole is not None:
            file = stack.enter_context(atomic_write(results.whole))
            digests[results.whole.name] = write_whole(file, tables.whole.tables(), summary)
        if xlsx:
            sheets = {
                path.stem: written[path]
                for path in (results.review, results.predictions, results.failures)
                if path in written
            }
            file = stack.enter_context(atomic_write(results.spreadsheet))
            digests[results.spreadsheet.name] = write_spreadsheet(file, sheets, summary)
    for optional in (results.review, results.whole, results.spreadsheet):
        if optional.name not in digests:
            with translate_write_errors(optional):
                optional.unlink(missing_ok=True)
    return msgspec.structs.replace(summary, tables=digests, model_change=change)


def _model_change(results: Results, now: pa.Table, summary: Summary) -> ModelChange | None:
    """What another model than that of the last run has changed; None for none, or if not known."""
    try:
        last = results.last_complete()
        if last is None or last.model == summary.model:
            return None
        before = read_csv(results.predictions, ["path", "label"])
    except OutputError:  # this run replaces what is damaged
        return None
    return compare_labels(before, now, last.model, last.model_name, results.out)


def review_rows(results: Results, predictions: pa.Table, summary: Summary) -> pa.Table | None:
    """The rows of review.csv, least confident first; None if the run has none.

    Raises:
        OutputError: the disk is full.
    """
    if summary.min_confidence is None and summary.max_novelty is None:
        return None
    reviewed = Sorter(["confidence", "path"], results.out)
    for batch in batches(predictions):
        rows = unreviewed(batch)
        labels = rows["label"].cast(pa.string())
        reviewed.add(rows.filter(pc.is_in(labels, pa.array(TO_REVIEW))))
    return reviewed.table()


def read_tables(results: Results) -> Tables:
    """Reads predictions.csv and failures.csv of the last complete run.

    Those of older versions do not say what is new; then all is as of the last run.

    Raises:
        UsageError: there is no complete run in the folder.
        OutputError: a table or a part is damaged.
    """
    run = results.last_finished().run
    predictions = read_csv(results.predictions, ["path", "label", "confidence", "status"])
    _require_pairs(results.predictions, predictions.column_names)
    failures = read_csv(results.failures, ["path", "reason", "message"])
    return Tables(
        _filled(predictions, {"run": run, "new": True}),
        _filled(failures, {"since": run_time(run), "new": True}),
    )


def _filled(table: pa.Table, columns: Mapping[str, str | bool]) -> pa.Table:
    """The table, with columns of one value in place of missing ones."""
    for name, value in columns.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(value, table.num_rows))
    return table


def _require_pairs(file: Place, names: Sequence[str]) -> None:
    """Checks that every label column has its confidence or score column, and vice versa."""
    columns = {name for name in names if name.startswith(tuple(filter(None, [*ORDINALS, "svm_"])))}
    for label in {name.rsplit("_", 1)[0] for name in columns}:
        number = "score" if label == "svm" else "confidence"
        if not {f"{label}_label", f"{label}_{number}"} <= columns:
            raise OutputError(f"{file} lacks columns of {label} labels; run again to rewrite it.")
