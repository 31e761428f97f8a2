"""The proof that nothing was skipped, counted from what the parts on disk say."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.abstention import UNSURE
from boatinfer.errors import TOO_MANY_FAILURES, UsageError
from boatinfer.pages.drift import Mix
from boatinfer.results.parts import OK
from boatinfer.results.predictions import Tables, guesses
from boatinfer.results.summary import Summary
from boatinfer.text import counted

__all__ = ["allowance", "count", "judge", "prove"]


def prove(summary: Summary, rows: pa.Table, last_part: int) -> None:
    """Counts what became of every image found, and sets the summary's ``complete``.

    Args:
        summary: of the run, with the number of images ``found``.
        rows: `plan.current`: the rows that the parts on disk have of the images found.
        last_part: the number of the last part when the run began.
    """
    sound = pc.equal(rows["status"], OK)
    ours = pc.equal(rows["run"], summary.run)
    written = pc.greater(rows["part"], last_part)
    proved = pc.equal(written, rows["due"])  # what was due has a new row, the rest its old one
    summary.classified = _true(pc.and_(proved, pc.and_(sound, ours)))
    summary.reused = _true(pc.and_(proved, pc.and_(sound, pc.invert(ours))))
    summary.failed = _true(pc.and_(proved, pc.and_(pc.invert(sound), ours)))
    summary.failures = _counts(rows["status"].filter(pc.and_(proved, pc.invert(sound))))
    accounted = summary.classified + summary.reused + summary.failed
    summary.complete = accounted == rows.num_rows == summary.found


def count(summary: Summary, tables: Tables) -> None:
    """Notes in the summary what the page and later nights compare."""
    needed = {"label", "guess", "confidence", "new"} & set(tables.predictions.column_names)
    new = Tables(tables.predictions.select(sorted(needed)), tables.failures).new
    summary.labels = _counts(tables.predictions["label"])
    if "svm_label" in tables.predictions.column_names:
        summary.svm_labels = _counts(tables.predictions["svm_label"])
    if summary.min_confidence is not None:
        summary.unsure = summary.labels.get(UNSURE, 0)
    summary.unlisted = _true(pc.ends_with(tables.failures["path"], "/"))
    summary.new = Mix.of(_counts(guesses(new)), new["confidence"].to_numpy())


def judge(summary: Summary, max_failures: str) -> None:
    """Sets the exit code of a complete run, and says in ``error`` why it is not 0.

    Args:
        summary: what is counted.
        max_failures: as on the command line.
    """
    said = []
    if summary.failed > allowance(max_failures)(summary.found):
        said.append(
            f"{summary.failed:,} of {counted(summary.found, 'image')} failed, more than "
            f"--max-failures {max_failures} allows"
        )
    if summary.unlisted:
        said.append(f"{counted(summary.unlisted, 'folder')} could not be listed")
    summary.exit_code = TOO_MANY_FAILURES if said else 0
    summary.error = f"{', and '.join(said)}." if said else None


def _true(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each text occurs."""
    values = column.cast(pa.string()).drop_null().value_counts().to_pylist()
    return dict(sorted((str(value["values"]), int(value["counts"])) for value in values))


def allowance(text: str) -> Callable[[int], float]:
    """Reads ``--max-failures``: a share of the images found, or a number of them.

    Returns:
        The most images that may fail, for a number of images found.

    Raises:
        UsageError: it is neither.
    """
    share = text.endswith("%")
    try:
        number = float(text.removesuffix("%")) if share else int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= (100 if share else math.inf):  # NaN neither
        raise UsageError(
            f"--max-failures {text}: give a percentage such as 5%, from 0% to 100%, or a number."
        )
    return lambda found: found * number / 100 if share else number
