"""The page of a run: one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined

from boatinfer.files import replacing
from boatinfer.results import OK, Results, Summary, writing
from boatinfer.scan import from_text

__all__ = ["write"]

#: Rows that a list on the page shows at most.
_SHOWN = 100


def write(results: Results, summary: Summary, predictions: pa.Table) -> None:
    """Writes ``report.html``.

    Args:
        results: the folder to write into.
        summary: the run in figures.
        predictions: what predictions.csv holds.

    Raises:
        OutputError: the page could not be written.
    """
    classified = predictions.filter(pc.equal(predictions["status"], OK))
    failed = predictions.filter(pc.not_equal(predictions["status"], OK))
    environment = Environment(
        loader=PackageLoader("boatinfer"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html").render(
        summary=summary,
        most=max(summary.labels.values(), default=1),
        doubtful=_linked(classified.sort_by("confidence").slice(0, _SHOWN), summary.folder),
        failed=_linked(failed.slice(0, _SHOWN), summary.folder),
    )
    with writing(results.out), replacing(results.report) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _linked(rows: pa.Table, folder: str) -> list[dict[str, Any]]:
    """Rows as dicts, each with the address of its image."""
    return [
        row | {"address": (Path(folder) / from_text(row["path"])).as_uri()}
        for row in rows.to_pylist()
    ]
