"""A spreadsheet: the tables of the results folder, as ``boatinfer run --xlsx`` writes them."""

from __future__ import annotations

from boatinfer.formats.base import Written, new_file
from boatinfer.formats.options import ExportOptions
from boatinfer.results.published_tables import read_tables, review_rows
from boatinfer.results.reader import ResultsReader
from boatinfer.results.tables.spreadsheet import require_writer, write_spreadsheet

__all__ = ["Spreadsheet"]


class Spreadsheet:
    """Writes one XLSX file."""

    options = ()

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """As `boatinfer.formats.base.Format.write`."""
        require_writer("--to xlsx")
        folder, summary = results.folder, results.summary
        tables = read_tables(folder)
        sheets = {"predictions": tables.predictions, "failures": tables.failures}
        review = review_rows(folder, tables.predictions, summary)
        if review is not None:
            sheets = {"review": review, **sheets}
        with new_file(options) as path:
            write_spreadsheet(path, sheets, summary)
        return Written(summary.found, [])
