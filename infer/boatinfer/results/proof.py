"""The proof that no image was skipped, counted from the parts on disk."""

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
from boatinfer.results.store.parts import RowMasks
from boatinfer.results.summary import Summary
from boatinfer.results.tables.predictions import UNSURE, Tables, counts, network_labels
from boatinfer.text import counted

__all__ = ["Files", "Proof", "allowance", "count_labels", "prove", "set_exit_code"]


class Files(NamedTuple):
    """A batch of the files found, and their rows in the parts on disk.

    Attributes:
        number: number of files.
        rows: records of `RowIndex.last_rows`, of the files that have a row.
        due: which of these were due to be classified, bool [N].
    """

    number: int
    rows: Array
    due: npt.NDArray[np.bool_]


class Proof(NamedTuple):
    """The rows of the files found.

    Attributes:
        masks: masks of the rows.
        digest: the sum of the lower halves of their keys, modulo 2^64.
    """

    masks: RowMasks
    digest: int


def prove(summary: Summary, batches: Iterable[Files], row_index: RowIndex, last_part: int) -> Proof:
    """Counts the outcomes of all images found, and sets the summary's ``complete``.

    Args:
        summary: the run's summary, which is updated.
        batches: all files found, each once.
        row_index: index of the parts on disk.
        last_part: the number of the last part when the run began.
    """
    mask, first_new_place = row_index.empty_mask(), row_index.first_place_after(last_part)
    failures: Counter[str] = Counter()
    summary.found = summary.classified = summary.reused = summary.warnings = rows = digest = 0
    for files in batches:
        from_this_run, places = files.rows["same_run"], files.rows["place"]
        # a file that was due has a new row, any other its old one
        proved = (places >= first_new_place) == files.due
        classified = files.rows["status"] == 0
        summary.found += files.number
        summary.classified += int((proved & classified & from_this_run).sum())
        summary.reused += int((proved & classified & ~from_this_run).sum())
        summary.warnings += int((proved & classified & files.rows["warned"]).sum())
        failed = np.bincount(files.rows["status"][proved & ~classified & from_this_run])
        failures += Counter(dict(zip(row_index.statuses, failed.tolist(), strict=False)))
        mask[places] = True
        rows += len(places)
        digest += int(files.rows["low"].sum())
    summary.failures, summary.failed = dict(sorted(failures.items())), failures.total()
    accounted = summary.classified + summary.reused + summary.failed
    summary.complete = accounted == rows == summary.found
    return Proof(row_index.row_masks(mask), digest % 2**64)


def count_labels(summary: Summary, tables: Tables) -> None:
    """Adds counts of labels to the summary, for the page and for comparison with later runs."""
    predictions = tables.predictions
    summary.labels = dict(sorted(counts(predictions["label"]).items()))
    if "svm_label" in predictions.column_names:
        summary.svm_labels = dict(sorted(counts(predictions["svm_label"]).items()))
    if summary.min_confidence is not None:
        summary.unsure = summary.labels.get(UNSURE, 0)
    summary.unlisted = int(pc.sum(pc.ends_with(tables.failures["path"], "/")).as_py() or 0)
    summary.new = Mix.from_batches(
        (counts(network_labels(rows)), rows["confidence"].to_numpy())
        for rows in tables.classified(new=True)
    )


def set_exit_code(summary: Summary, max_failures: str) -> None:
    """Sets ``exit_code`` and ``error`` of a complete run.

    Args:
        summary: the run's summary, which is updated.
        max_failures: the value of ``--max-failures``.
    """
    reasons = []
    if summary.failed > allowance(max_failures)(summary.found):
        reasons.append(
            f"{summary.failed:,} of {counted(summary.found, 'image')} failed, more than "
            f"--max-failures {max_failures} allows"
        )
    if summary.unlisted:
        reasons.append(f"{counted(summary.unlisted, 'folder')} could not be listed")
    summary.exit_code = TOO_MANY_FAILURES if reasons else 0
    summary.error = f"{', and '.join(reasons)}." if reasons else None


def allowance(text: str) -> Callable[[int], float]:
    """Parses ``--max-failures``: a percentage of the images found, or a number of them.

    Returns:
        A function from the number of images found to the most that may fail.

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
    return lambda images: images * number / 100 if share else number
