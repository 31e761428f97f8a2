"""The proof that nothing was skipped, counted from what the parts on disk say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from msgspec.structs import replace

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
    """What the parts on disk say of all files found.

    Attributes:
        found: how many files.
        classified: how many this run classified.
        reused: how many rows of earlier runs count.
        warnings: how many of both were read with a warning of the decoder.
        failures: how many failed, by reason.
        complete: whether every file has exactly one row, and of the right run.
        marks: the rows.
        digest: the sum of the lower halves of their keys, modulo 2^64.
    """

    found: int
    classified: int
    reused: int
    warnings: int
    failures: dict[str, int]
    complete: bool
    marks: Marks
    digest: int

    def counted(self, summary: Summary) -> Summary:
        """The summary with these counts."""
        return replace(
            summary,
            found=self.found,
            classified=self.classified,
            reused=self.reused,
            warnings=self.warnings,
            failures=self.failures,
            failed=sum(self.failures.values()),
            complete=self.complete,
        )


def prove(found: Iterable[Files], row_index: RowIndex, last_part: int) -> Proved:
    """Counts what became of every image found.

    Args:
        found: all files, each once.
        row_index: what the parts on disk say.
        last_part: the number of the last part when the run began.
    """
    marked, before = row_index.blank(), row_index.after(last_part)
    failures: Counter[str] = Counter()
    total = classified = reused = warnings = rows = digest = 0
    for files in found:
        now, place = files.rows["now"], files.rows["place"]
        # what was due has a new row, the rest its old one
        proved = (place >= before) == files.due
        sound = files.rows["status"] == 0
        total += files.number
        classified += int((proved & sound & now).sum())
        reused += int((proved & sound & ~now).sum())
        warnings += int((proved & sound & files.rows["warned"]).sum())
        failed = np.bincount(files.rows["status"][proved & ~sound & now])
        failures += Counter(dict(zip(row_index.statuses, failed.tolist(), strict=False)))
        marked[place] = True
        rows += len(place)
        digest += int(files.rows["low"].sum())
    return Proved(
        found=total,
        classified=classified,
        reused=reused,
        warnings=warnings,
        failures=dict(sorted(failures.items())),
        complete=classified + reused + failures.total() == rows == total,
        marks=row_index.marks(marked),
        digest=digest % 2**64,
    )


def count(summary: Summary, tables: Tables) -> Summary:
    """Counts what the page and later runs compare."""
    predictions = tables.predictions
    labels = dict(sorted(counts(predictions["label"]).items()))
    svm_labels = summary.svm_labels
    if "svm_label" in predictions.column_names:
        svm_labels = dict(sorted(counts(predictions["svm_label"]).items()))
    return replace(
        summary,
        labels=labels,
        svm_labels=svm_labels,
        unsure=0 if summary.min_confidence is None else labels.get(UNSURE, 0),
        unlisted=int(pc.sum(pc.ends_with(tables.failures["path"], "/")).as_py() or 0),
        new=Mix.of(
            (counts(network_labels(some)), some["confidence"].to_numpy())
            for some in tables.classified(new=True)
        ),
    )


def judge(summary: Summary, max_failures: str) -> Summary:
    """Gives a complete run its exit code, and the ``error`` that says why it is not 0.

    Args:
        summary: what is counted.
        max_failures: as on the command line.
    """
    reasons = []
    if summary.failed > allowance(max_failures)(summary.found):
        reasons.append(
            f"{summary.failed:,} of {counted(summary.found, 'image')} failed, more than "
            f"--max-failures {max_failures} allows"
        )
    if summary.unlisted:
        reasons.append(f"{counted(summary.unlisted, 'folder')} could not be listed")
    return replace(
        summary,
        exit_code=TOO_MANY_FAILURES if reasons else 0,
        error=f"{', and '.join(reasons)}." if reasons else None,
    )


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
