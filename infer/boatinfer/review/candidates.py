"""The images that may be asked for: those of the last complete run, as columns."""

from __future__ import annotations

from collections.abc import Mapping
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

__all__ = ["Candidates", "read_candidates"]

_REQUIRED = ["path", "label", "confidence", "status"]
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
        path = PurePosixPath(self.path(row))
        return not path.is_absolute() and ".." not in path.parts


def read_candidates(results: Results, everything: bool) -> Candidates:
    """Reads the new images of the last complete run; all, if it has none or if asked to.

    Raises:
        UsageError: there is no complete run, or it has no classified image.
        OutputError: its tables are damaged.
    """
    summary = results.last_finished()
    table = _table(results)
    table = table.filter(pc.equal(table["status"], OK))
    if not table.num_rows:
        raise UsageError(f"{results.out} holds no classified images, so there is none to review.")
    if not everything and "run" in table.column_names:
        runs = pa.array(results.new_runs(summary), pa.string())
        new = table.filter(pc.is_in(table["run"].cast(pa.string()), runs))
        if new.num_rows:
            return Candidates(summary, new, new.num_rows < table.num_rows)
    return Candidates(summary, table, False)


def _table(results: Results) -> pa.Table:
    """The columns of predictions.parquet, which is read much faster, or of predictions.csv."""
    try:
        with pq.ParquetFile(open_for_arrow(results.whole)) as file:
            names = [name for name in _COLUMNS if name in file.schema_arrow.names]
            if set(_REQUIRED) <= set(names):
                return file.read(names)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, pa.ArrowException) as error:
        raise OutputError(
            f"{results.whole} cannot be read ({first_line(error)}); run again to rewrite it."
        ) from error
    table = read_csv(results.predictions, _REQUIRED)
    return table.select([name for name in _COLUMNS if name in table.column_names])
