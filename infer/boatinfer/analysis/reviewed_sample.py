"""What the answers of a review say of the accuracy: of the last night, and week by week."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.sampling import Estimate, estimate, positions
from boatinfer.results.folder import Results
from boatinfer.results.labels import CANNOT_TELL, SEVERAL, Answer
from boatinfer.results.summary import run_time
from boatinfer.text import decimal, table

__all__ = ["ReviewedSample", "review_truth", "reviewed_sample"]

#: Weeks in the text, at most; JSON has all.
_WEEKS = 12


@dataclass(frozen=True)
class ReviewedSample:
    """Estimates of the accuracy.

    Attributes:
        new: on the new images of the last run.
        weeks: on the images that were first classified in a week, by its ISO name, latest first.
    """

    new: Estimate
    weeks: dict[str, Estimate]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        weeks = {name: week.document() for name, week in self.weeks.items()}
        return {"new": self.new.document(), "weeks": weeks}

    def text(self) -> str:
        """For a terminal."""
        rows: list[tuple[object, ...]] = [("week", "images", "labelled", "accuracy", "95 %")]
        for name, week in list(self.weeks.items())[:_WEEKS]:
            if week.accuracy is not None and week.interval is not None:
                ends = " to ".join(map(decimal, week.interval))
                rows.append((name, week.images, week.labelled, decimal(week.accuracy), ends))
        weeks = ["By week, from the random sample", *table(rows)] if len(rows) > 1 else []
        lines = [
            "New images of the last run.",
            self.new.text(),
            *weeks,
            "What follows is of all labelled images: most were asked for because they are doubtful,"
            " so the accuracy on all may be higher.",
        ]
        return "\n".join(lines)


def review_truth(contents: pa.Array, answers: Mapping[str, Answer]) -> pa.Array:
    """The true class of each content, string [N]; null where nobody could tell one.

    Args:
        contents: string [N], xxh3-128 in hex.
        answers: what people have said of them.
    """
    known = {
        content: answer.label
        for content, answer in answers.items()
        if answer.label not in {SEVERAL, CANNOT_TELL}
    }
    indices = pc.index_in(contents, value_set=pa.array(list(known), pa.string()))
    return pa.array(list(known.values()), pa.string()).take(indices)


def reviewed_sample(
    results: Results,
    images: pa.Table,
    contents: pa.Array,
    predicted: pa.Array,
    answers: Mapping[str, Answer],
) -> ReviewedSample:
    """Estimates the accuracy on the images of a results folder.

    Args:
        results: the results folder.
        images: N rows of `Results.current`.
        contents: string [N], their contents.
        predicted: string [N], their predicted classes.
        answers: what people have said of contents.
    """
    places = positions(pc.fill_null(contents, "0" * 32))
    runs = images["run"].cast(pa.string()).combine_chunks().dictionary_encode()
    codes, names = runs.indices.to_numpy(), runs.dictionary.to_pylist()

    def of(chosen: list[bool]) -> Estimate:
        rows = np.flatnonzero(np.array(chosen, np.bool_)[codes])
        taken = pa.array(rows)
        return estimate(contents.take(taken), places[rows], predicted.take(taken), answers)

    new = set(results.new_runs(results.last_finished()))
    weeks = [_week(name) for name in names]
    return ReviewedSample(
        of([name in new for name in names]),
        {week: of([one == week for one in weeks]) for week in sorted(set(weeks), reverse=True)},
    )


def _week(run: str) -> str:
    """The ISO week of a run, as ``2026-W14``."""
    year, week, _ = datetime.fromisoformat(run_time(run)).astimezone().isocalendar()
    return f"{year}-W{week:02d}"
