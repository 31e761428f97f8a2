"""The proof that no image was skipped, counted from the parts on disk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from boatinfer.errors import (
    TOO_MANY_FAILURES,
    UNLISTED_FOLDER,
    UNUSUAL,
    OutputError,
    UsageError,
)
from boatinfer.i18n import ENGLISH
from boatinfer.results.folder import Results
from boatinfer.results.folder_mixes import new_folders
from boatinfer.results.gone import Gone, find_gone
from boatinfer.results.manifest import read_paths, read_summary_of
from boatinfer.results.mix import Mix
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.keyed_arrays import Array
from boatinfer.results.store.parts import RowMasks
from boatinfer.results.summary import Summary, Unusual
from boatinfer.results.tables.predictions import UNKNOWN, UNSURE, Tables, counts, network_labels
from boatinfer.results.unusual_text import unusual_in_words
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
    """The outcomes of all files found, counted from the parts on disk.

    Attributes:
        found: number of files.
        classified: number of images that this run classified.
        reused: number of images with a row of an earlier run.
        warnings: number of both for which the decoder gave a warning.
        failures: number of failures by reason.
        complete: whether every file has exactly one row, and of the expected run.
        masks: masks of the rows.
        digest: the sum of the lower halves of their keys, modulo 2^64.
    """

    found: int
    classified: int
    reused: int
    warnings: int
    failures: dict[str, int]
    complete: bool
    masks: RowMasks
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


def prove(batches: Iterable[Files], row_index: RowIndex, last_part: int) -> Proof:
    """Counts the outcomes of all images found.

    Args:
        batches: all files found, each once.
        row_index: index of the parts on disk.
        last_part: the number of the last part when the run began.
    """
    mask, first_new_place = row_index.empty_mask(), row_index.first_place_after(last_part)
    failures: Counter[str] = Counter()
    total = classified = reused = warnings = rows = digest = 0
    for files in batches:
        from_this_run, places = files.rows["same_run"], files.rows["place"]
        # a file that was due has a new row, any other its old one
        proved = (places >= first_new_place) == files.due
        ok = files.rows["status"] == 0
        total += files.number
        classified += int((proved & ok & from_this_run).sum())
        reused += int((proved & ok & ~from_this_run).sum())
        warnings += int((proved & ok & files.rows["warned"]).sum())
        failed = np.bincount(files.rows["status"][proved & ~ok & from_this_run])
        failures += Counter(dict(zip(row_index.statuses, failed.tolist(), strict=False)))
        mask[places] = True
        rows += len(places)
        digest += int(files.rows["low"].sum())
    return Proof(
        found=total,
        classified=classified,
        reused=reused,
        warnings=warnings,
        failures=dict(sorted(failures.items())),
        complete=classified + reused + failures.total() == rows == total,
        masks=row_index.row_masks(mask),
        digest=digest % 2**64,
    )


def count_labels(summary: Summary, tables: Tables, results: Results) -> Summary:
    """Adds counts of labels, new images and gone ones to the summary.

    Args:
        summary: the run's summary.
        tables: its tables.
        results: where the last complete run is.
    """
    predictions = tables.predictions
    labels = dict(sorted(counts(predictions["label"]).items()))
    svm_labels = summary.svm_labels
    if "svm_label" in predictions.column_names:
        svm_labels = dict(sorted(counts(predictions["svm_label"]).items()))
    gone = _gone(results, summary, tables)
    new = Mix.from_batches(
        (
            (counts(rows["label"]), counts(network_labels(rows)), rows["confidence"].to_numpy())
            for rows in tables.classified(new=True)
        ),
        failed=_new_failures(tables.failures),
    )
    if "novelty" in predictions.column_names:
        new = new.with_novelty(
            pc.fill_null(rows["novelty"].cast(pa.float64()), np.nan).to_numpy()
            for rows in tables.classified(new=True)
        )
    return replace(
        summary,
        gone=gone,
        unusual=list(_empty_folders(gone)) if gone else [],
        labels=labels,
        svm_labels=svm_labels,
        unsure=0 if summary.min_confidence is None else labels.get(UNSURE, 0),
        unknown=0 if summary.max_novelty is None else labels.get(UNKNOWN, 0),
        unlisted=int(pc.sum(pc.ends_with(tables.failures["path"], "/")).as_py() or 0),
        new=replace(new, folders=new_folders(tables.classified(new=True))),
    )


def _new_failures(failures: pa.Table) -> int:
    """Number of new images that failed; a row of a folder is no image."""
    new = pc.and_not(failures["new"], pc.ends_with(failures["path"], "/"))
    return int(pc.sum(new).as_py() or 0)


def _gone(results: Results, summary: Summary, tables: Tables) -> Gone | None:
    """The images of the last complete run that are gone; None if that cannot be told."""
    if summary.restrictions or not results.manifest.exists():
        return None
    try:
        last = read_summary_of(results.manifest)
        if last.restrictions:
            return None
        known = last.gone or Gone()
        paths = read_paths(results.manifest)
        gone = find_gone(paths, tables.predictions, summary.started, known.since)
    except OutputError:  # this run replaces the manifest
        return None
    # A run that was killed right after the manifest has not told what was gone then.
    return gone if results.is_recorded(last.run) else gone.with_those_of(known)


def _empty_folders(gone: Gone) -> Iterator[Unusual]:
    for folder, since in gone.since.items():
        before = None if folder in gone.empty else since
        unusual = Unusual("folder_gone", "", folder, since=before)
        yield replace(unusual, text=unusual_in_words(unusual, ENGLISH))


def set_exit_code(summary: Summary, max_failures: str, fail_on_unusual: bool) -> Summary:
    """Sets ``exit_code`` and ``error`` of a complete run.

    Args:
        summary: the run's summary.
        max_failures: the value of ``--max-failures``.
        fail_on_unusual: whether ``--fail-on-unusual`` was given.
    """
    reasons, exit_code = [], 0
    if fail_on_unusual and summary.unusual:
        exit_code = UNUSUAL
        reasons.append("something is unusual")
    new = summary.new or Mix()
    if new.failed > allowance(max_failures)(new.found):
        exit_code = TOO_MANY_FAILURES
        reasons.append(
            f"{new.failed:,} of {counted(new.found, 'new image')} failed, more than "
            f"--max-failures {max_failures} allows"
        )
    if summary.unlisted:
        exit_code = UNLISTED_FOLDER
        reasons.append(f"{counted(summary.unlisted, 'folder')} could not be listed")
    return replace(
        summary,
        exit_code=exit_code,
        error=f"{', and '.join(reasons)}." if reasons else None,
    )


def allowance(text: str) -> Callable[[int], float]:
    """Parses ``--max-failures``: a percentage of the new images, or a number of them.

    Returns:
        A function from the number of new images to the most that may fail.

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
