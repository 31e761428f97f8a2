"""The images that a person is to review: those of ``review.csv``."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import pyarrow.compute as pc

from boatinfer.results.folder import Results
from boatinfer.results.summary import run_time
from boatinfer.results.tables.csv_files import read_csv
from boatinfer.storage.base import Place

__all__ = ["Unreviewed", "find_unreviewed"]


class Unreviewed(NamedTuple):
    """What is to be reviewed.

    Attributes:
        images: how many.
        since: when the first of them was classified, ISO 8601; None if there are none.
    """

    images: int = 0
    since: str | None = None


def find_unreviewed(out: Place) -> Unreviewed:
    """Counts the images of a results folder that are to be reviewed.

    Raises:
        BoatinferError: review.csv cannot be read, or is none.
    """
    review = Results(out).review
    if not review.exists():
        return Unreviewed()
    rows = read_csv(review, ["path", "run"])
    since = run_time(pc.min(rows["run"]).as_py() or "")
    try:
        datetime.fromisoformat(since)
    except ValueError:  # people may have edited the file
        return Unreviewed(rows.num_rows)
    return Unreviewed(rows.num_rows, since)
