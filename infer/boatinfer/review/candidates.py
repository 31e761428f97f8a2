"""The images that may be asked for: those of the last complete run, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from boatinfer.errors import OutputError, UsageError, first_line
from boatinfer.results.folder import Results
from boatinfer.results.store.rows import OK
from boatinfer.results.summary import Summary
from boatinfer.results.tables.csv_files import read_csv
from boatinfer.results.tables.predictions import network_labels
from boatinfer.storage.locations import open_for_arrow

__all__ = ["Candidates", "is_inside", "read_candidates"]

_REQUIRED = ["path", "label", "confidence", "status"]
_REPEATED = ["label", "status", "second_label", "guess", "svm_label", "run"]
_COLUMNS = [*_REQUIRED, "second_label", "second_confidence", "guess", "svm_label", "novelty", "run"]


@dataclass(frozen=True)
class Candidates:
    """Classified images, sorted by path; a row of them is named by its number.

    Attributes:
        summary: of the last complete run.
        table: N rows; the columns of predictions.csv that are there.
        only_new: whether these are the new images of the run alone.
    """

    summary: Summary
    table: pa.Table
    only_new: bool

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def paths(self) -> pa.Array:
        """String [N]."""
        return self.table["path"]

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A numeric column, float64 [N]; NaN where it is empty."""
        column = pc.fill_null(self.table[name].cast(pa.float64()), np.nan)
        return np.asarray(column.to_numpy())

    def path(self, row: int) -> str:
        """The path of a row."""
        return str(self.table["path"][row].as_py())

    def label(self, row: int) -> str:
        """The class that the network predicts."""
        return str(network_labels(self.table)[row].as_py())

    def guesses(self, row: int) -> list[tuple[str, float]]:
        """The two most probable classes with their probabilities."""
        values: Mapping[str, Any] = self.table.slice(row, 1).to_pylist()[0]
        second = values.get("second_label")
        found = [(self.label(row), float(values["confidence"] or 0))]
        return found + ([(second, float(values["second_confidence"] or 0))] if second else [])

    def may_show(self, row: int) -> bool:
        """Whether the path stays inside the scanned folder."""
        return is_inside(self.path(row))


def is_inside(path: str) -> bool:
    """Whether the path of an image stays inside the folder that it is relative to."""
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts


def read_candidates(results: Results, summary: Summary, everything: bool) -> Candidates:
    """Reads the new images of the last complete run; all, if it has none or if asked to.

    Args:
        results: the results folder.
        summary: of its last complete run.
        everything: whether all are asked for.

    Raises:
        UsageError: there is no classified image.
        OutputError: its tables are damaged.
    """
    table = _taken(_table(results), "status", [OK])
    if not table.num_rows:
        raise UsageError(f"{results.out} holds no classified images, so there is none to review.")
    if not everything and "run" in table.column_names:
        new = _taken(table, "run", results.new_runs(summary))
        if new.num_rows:
            return Candidates(summary, new, new.num_rows < table.num_rows)
    return Candidates(summary, table, False)


def _taken(table: pa.Table, name: str, values: Sequence[str]) -> pa.Table:
    """The rows that have one of some values, without a copy where all have."""
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries().combine_chunks()
        taken = pc.is_in(column.dictionary, value_set=pa.array(values, pa.string()))
        mask = taken.take(column.indices)
    else:
        mask = pc.is_in(column, value_set=pa.array(values, pa.string()))
    mask = pc.fill_null(mask, False)
    return table if pc.all(mask).as_py() else table.filter(mask)


def _table(results: Results) -> pa.Table:
    """The columns of predictions.parquet, which is read much faster, or of predictions.csv."""
    try:
        there = set(pq.read_schema(open_for_arrow(results.whole)).names)
        if there.issuperset(_REQUIRED):
            repeated = [name for name in _REPEATED if name in there]
            with pq.ParquetFile(open_for_arrow(results.whole), read_dictionary=repeated) as file:
                return file.read([name for name in _COLUMNS if name in there])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, pa.ArrowException) as error:
        raise OutputError(
            f"{results.whole} cannot be read ({first_line(error)}); run again to rewrite it."
        ) from error
    table = read_csv(results.predictions, _REQUIRED)
    return table.select([name for name in _COLUMNS if name in table.column_names])
