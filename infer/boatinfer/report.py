"""The page of a run: one self-contained HTML file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.files import replacing
from boatinfer.parts import OK
from boatinfer.results import Results, Summary
from boatinfer.scan import from_text

__all__ = ["write"]

#: Rows that the lists on the page show at most.
_DOUBTFUL = 20
_FAILED = 100


def write(results: Results, summary: Summary, tables: tuple[pa.Table, pa.Table] | None) -> None:
    """Writes ``report.html``.

    Args:
        results: the folder to write into.
        summary: the run in figures.
        tables: what predictions.csv and failures.csv hold; None while the run goes on, or
            if it did not come to its end: the page then says so.

    Raises:
        OutputError: the page could not be written.
    """
    doubtful, failed = ([], []) if tables is None else _shown(*tables)
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("boatinfer"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["address"] = lambda path: _address(path, summary.folder)
    page = environment.get_template("report.html").render(
        summary=summary,
        most=max(summary.labels.values(), default=1),
        started=_local(summary.started),
        finished=_local(summary.finished),
        doubtful=doubtful,
        failed=failed,
    )
    with replacing(results.report) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _shown(predictions: pa.Table, failures: pa.Table) -> tuple[list[Any], list[Any]]:
    """The rows that the page lists, as dicts."""
    classified = predictions.filter(pc.equal(predictions["status"], OK))
    keys = [("confidence", "ascending"), ("path", "ascending")]
    order = pc.select_k_unstable(classified, min(_DOUBTFUL, classified.num_rows), keys)
    return classified.take(order).to_pylist(), failures.slice(0, _FAILED).to_pylist()


def _local(moment: str | None) -> str:
    """A moment as the clock on the wall shows it."""
    if moment is None:
        return ""
    return datetime.fromisoformat(moment).astimezone().strftime("%A %d %B %Y, %H:%M")


def _address(path: str, folder: str) -> str:
    """Where the image is, for a link."""
    return (Path(from_text(folder)) / from_text(path)).as_uri()
