"""Reads the results of the last complete run, for Python and for the formats of other tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from boatinfer.errors import OutputError, UsageError, first_line
from boatinfer.models.inference import Floats
from boatinfer.results.feature_export import feature_table
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.nights import Night, nights
from boatinfer.results.published_tables import read_tables
from boatinfer.results.store.rows import matrix
from boatinfer.results.summary import Summary
from boatinfer.results.tables.csv_files import read_csv
from boatinfer.results.tables.external_sort import decoded
from boatinfer.storage.base import Place
from boatinfer.storage.locations import is_remote, open_for_arrow, place

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Features", "ResultsReader", "read_results"]

#: Rows of a batch.
_ROWS = 65_536


class Features(NamedTuple):
    """The features of the classified images, sorted by path.

    Attributes:
        paths: of each image, relative to the folder of images.
        labels: the network's class of each.
        vectors: float32 [N, D].
    """

    paths: list[str]
    labels: list[str]
    vectors: Floats


class ResultsReader:
    """The results of the last complete run; nothing but its summary is read before it is asked for.

    The rows are those of predictions.parquet, as docs/results.md describes them: one an image,
    sorted by path. A folder without that file (``--no-parquet``, or an older version) has those of
    predictions.csv, without probabilities and features.

    Args:
        results: the results folder.

    Attributes:
        folder: the results folder.
        summary: of the run.

    Raises:
        UsageError: there is no complete run.
        OutputError: a summary is damaged.
    """

    def __init__(self, results: Results) -> None:
        self.folder = results
        self.summary: Summary = results.last_finished()

    @property
    def classes(self) -> list[str]:
        """The names of the model's classes, in the order of the probabilities.

        Older versions did not note them: then those that the rows have, sorted.
        """
        if self.summary.classes:
            return self.summary.classes
        names = [name for name in self.columns if name == "guess" or name.endswith("label")]
        found: set[str | None] = set()
        for batch in self.batches(names):
            found.update(*(batch[name].unique().to_pylist() for name in names))
        return sorted(str(name) for name in found - {None})

    @property
    def columns(self) -> list[str]:
        """The names of the columns.

        Raises:
            OutputError: a table is damaged or missing.
        """
        file = self._whole()
        schema = self._from_csv().schema if file is None else file.schema_arrow
        return list(schema.names)

    def batches(
        self, columns: Sequence[str] | None = None, rows: int = _ROWS
    ) -> Iterator[pa.Table]:
        """The rows in batches, which take no more memory for more images.

        Args:
            columns: those to read; None for all.
            rows: the largest number of rows of a batch.

        Yields:
            Tables, sorted by path; at least one, which may be empty.

        Raises:
            UsageError: there is no such column.
            OutputError: a table is damaged or missing.
        """
        file = self._whole()
        names = self._from_csv().column_names if file is None else file.schema_arrow.names
        unknown = [name for name in columns or [] if name not in names]
        if unknown:
            raise UsageError(f"there is no column {unknown[0]}; there are {', '.join(names)}.")
        wanted = names if columns is None else list(columns)
        if file is None:
            table = self._from_csv().select(wanted)
            for start in range(0, max(1, table.num_rows), rows):
                yield table.slice(start, rows)
            return
        with file:
            schema = pa.schema([file.schema_arrow.field(name) for name in wanted])
            yield from self._checked(file, schema, rows)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows as a table of pyarrow; arguments and errors are those of `batches`."""
        return pa.concat_tables(self.batches(columns))

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """The rows as a `pandas.DataFrame`, likewise."""
        _require("pandas")
        return self.to_arrow(columns).to_pandas()

    def to_polars(
        self, columns: Sequence[str] | None = None, *, lazy: bool = False
    ) -> pl.DataFrame | pl.LazyFrame:
        """The rows as a data frame of polars, likewise.

        Args:
            columns: those to read; None for all.
            lazy: whether to return a lazy frame, which reads only what a query needs.
        """
        _require("polars")
        import polars as pl

        if lazy and self._has_whole() and not is_remote(self.folder.whole):
            scan = pl.scan_parquet(str(self.folder.whole))
            return scan if columns is None else scan.select(columns)
        frame = pl.DataFrame(self.to_arrow(columns))
        return frame.lazy() if lazy else frame

    def features(self) -> Features:
        """The features of the classified images.

        Raises:
            UsageError: the images have none.
            OutputError: a part is damaged.
        """
        table = feature_table(self.folder)
        paths, labels = (table[name].to_pylist() for name in ("path", "label"))
        return Features(paths, labels, matrix(table["features"]))

    def failures(self) -> pa.Table:
        """The images that failed: ``path``, ``reason``, ``message``, and since when.

        Raises:
            OutputError: the table is damaged or missing.
        """
        return read_csv(self.folder.failures, ["path", "reason", "message"])

    def nights(self) -> list[Night]:
        """All runs into the folder, latest first."""
        return nights(self.folder)

    def _has_whole(self) -> bool:
        return self.folder.whole.name in self.summary.tables

    def _whole(self) -> pq.ParquetFile | None:
        """predictions.parquet; None if the run has written none."""
        if not self._has_whole():
            return None
        try:
            return pq.ParquetFile(open_for_arrow(self.folder.whole))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _unreadable(self.folder.whole, error) from error

    def _checked(self, file: pq.ParquetFile, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
        """The columns of a schema, in batches."""
        if not file.metadata.num_rows:
            yield schema.empty_table()
        try:
            for batch in file.iter_batches(rows, columns=schema.names):
                yield pa.Table.from_batches([batch]).select(schema.names)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _unreadable(self.folder.whole, error) from error

    def _from_csv(self) -> pa.Table:
        """What predictions.csv and failures.csv know of the columns of predictions.parquet."""
        tables = read_tables(self.folder)
        rows, failures = decoded(tables.predictions), tables.failures
        place_of = pc.index_in(rows["path"], failures["path"].combine_chunks())
        return rows.append_column("error", failures["message"].take(place_of))


def read_results(out: str | Place) -> ResultsReader:
    """Reads the results of the last complete run into a folder.

    Args:
        out: the results folder, its URI in a bucket, or the folder of images of its run.

    Raises:
        UsageError: there are no results, or none of a complete run.
        OutputError: they are damaged.
    """
    return ResultsReader(find_results(place(out)))


def _require(library: str) -> None:
    import importlib.util

    if importlib.util.find_spec(library) is None:
        raise UsageError(f"{library} is not installed; run pip install {library}.")


def _unreadable(file: Place, error: Exception) -> OutputError:
    return OutputError(f"{file} cannot be read ({first_line(error)}); run again to rewrite it.")
