"""The proof that nothing was skipped, counted from what the parts on disk say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from boatinfer.errors import TOO_MANY_FAILURES, UsageError
from boatinfer.results.mix import Mix
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.keyed_arrays import Array
from boatinfer.results.store.parts import Marks
from boatinfer.results.summary import Summary
from boatinfer.results.tables.predictions import UNSURE, Tables, counts, network_labels
from boatinfer.text import counted

__all__ = ["Files", "Proved", "allowance", "count", "judge", "prove"]


class Files(NamedTuple):
    """Some of the files found, and what the parts on disk say of them.

    Attributes:
        number: how many files these are.
        rows: records of `RowIndex.last`, of those that have a row.
        due: which of these were to be worked on, bool [N].
    """

    number: int
    rows: Array
    due: npt.NDArray[np.bool_]


class Proved(NamedTuple):
    """The rows of the files found.

    Attributes:
        marks: which they are.
        digest: the sum of the lower halves of their keys, modulo 2^64.
    """

    marks: Marks
    digest: int


def prove(summary: Summary, found: Iterable[Files], row_index: RowIndex, last_part: int) -> Proved:
    """Counts what became of every image found, and sets the summary's ``complete``.

    Args:
        summary: of the run.
        found: all files, each once.
        row_index: what the parts on disk say.
        last_part: the number of the last part when the run began.
    """
    marked, before = row_index.blank(), row_index.after(last_part)
    failures: Counter[str] = Counter()
    summary.found = summary.classified = summary.reused = summary.warnings = rows = digest = 0
    for files in found:
        now, place = files.rows["now"], files.rows["place"]
        # what was due has a new row, the rest its old one
        proved = (place >= before) == files.due
        sound = files.rows["status"] == 0
        summary.found += files.number
        summary.classified += int((proved & sound & now).sum())
        summary.reused += int((proved & sound & ~now).sum())
        summary.warnings += int((proved & sound & files.rows["warned"]).sum())
        failed = np.bincount(files.rows["status"][proved & ~sound & now])
        failures += Counter(dict(zip(row_index.statuses, failed.tolist(), strict=False)))
        marked[place] = True
        rows += len(place)
        digest += int(files.rows["low"].sum())
    summary.failures, summary.failed = dict(sorted(failures.items())), failures.total()
    accounted = summary.classified + summary.reused + summary.failed
    summary.complete = accounted == rows == summary.found
    return Proved(row_index.marks(marked), digest % 2**64)


def count(summary: Summary, tables: Tables) -> None:
    """Notes in the summary what the page and later nights compare."""
    predictions = tables.predictions
    summary.labels = dict(sorted(counts(predictions["label"]).items()))
    if "svm_label" in predictions.column_names:
        summary.svm_labels = dict(sorted(counts(predictions["svm_label"]).items()))
    if summary.min_confidence is not None:
        summary.unsure = summary.labels.get(UNSURE, 0)
    summary.unlisted = int(pc.sum(pc.ends_with(tables.failures["path"], "/")).as_py() or 0)
    summary.new = Mix.of(
        (counts(network_labels(some)), some["confidence"].to_numpy())
        for some in tables.classified(new=True)
    )


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
