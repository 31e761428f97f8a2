"""The page of a run, ``report.html``: the most important facts first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.history import RunHistory
from boatinfer.pages import page
from boatinfer.pages.thumbnails import Album
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.left_out import left_out_in_words
from boatinfer.results.published_tables import read_tables
from boatinfer.results.summary import Summary
from boatinfer.results.tables.predictions import UNSURE, Tables, counts, network_labels
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors

__all__ = ["make_report", "write"]

#: Classes in the table of classes, at most.
_CLASSES = 200
#: Thumbnails in each part of the review: the least confident, those where network and SVM
#: disagree, and the most confident of each of the most frequent classes.
_LEAST_CONFIDENT, _DISAGREEING, _MOST_CONFIDENT, _MOST_CONFIDENT_CLASSES = 18, 12, 2, 24
#: Failures that are listed for each reason, at most.
_FAILED = 50
#: Rows of the table of images, at most; a larger run is sampled.
_ROWS = 400
#: Bytes that the lists of failures and of images may take.
_FAILED_BYTES, _KNOWN_BYTES, _ROWS_BYTES = 200_000, 50_000, 500_000

#: Comments around the banner on a later, incomplete run.
_LATER_RUN = ("<!-- later run -->", "<!-- end of later run -->")

#: The stages of a run in their order, with their display names.
_STAGES = {
    "start": "Opening and testing the model",
    "list": "Listing the folder",
    "read": "Reading files",
    "decode": "Decoding images",
    "infer": "Running the network",
    "record": "Recording results",
    "tables": "Proving and writing tables",
}
#: The stages that are done image by image.
_PER_IMAGE = {"read", "decode", "infer", "record"}


def write(results: Results, summary: Summary, tables: Tables | None, enabled: bool = True) -> None:
    """Writes ``report.html``, or removes an outdated one.

    Args:
        results: the results folder.
        summary: the run's summary.
        tables: the contents of predictions.csv and failures.csv; None if the run is in progress or
            incomplete: the page of the last complete run then gets a banner on it.
        enabled: whether to write a page.

    Raises:
        OutputError: the page could not be written.
    """
    if not enabled:
        with translate_write_errors(results.report):
            results.report.unlink(missing_ok=True)
        return
    if tables is None:
        _announce_incomplete(results, summary)
    else:
        values = _report_values(results, summary, tables)
        page.write(results.report, "report.html", summary=summary, report=values)


def make_report(out: Place) -> Place:
    """Rewrites ``report.html`` of the last complete run, with a banner on a later one.

    Args:
        out: the results folder.

    Returns:
        The path of the page.

    Raises:
        UsageError: it is not a results folder.
        BusyError: a run has locked it.
        OutputError: the results are damaged, or the page could not be written.
    """
    results = find_results(out)
    last = results.last_run() or results.last_finished()  # raises if there is none
    with results.lock(last.folder):
        complete = results.last_complete()
        if complete is not None:
            write(results, complete, read_tables(results))
        if not last.complete:
            write(results, last, None)
    return results.report


def _announce_incomplete(results: Results, summary: Summary) -> None:
    try:
        page_text = results.report.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        page_text = ""
    head, begin, rest = page_text.partition(_LATER_RUN[0])
    _, end, tail = rest.partition(_LATER_RUN[1])
    if end:
        banner = page.rendered("later.html", summary=summary)
        page.save(results.report, "".join([head, begin, banner, end, tail]))
    else:
        page.write(results.report, "unfinished.html", summary=summary)


def _report_values(results: Results, summary: Summary, tables: Tables) -> dict[str, Any]:
    history = RunHistory.select(summary, results.history(summary))
    classes = list(_classes(history))
    count = tables.count(new=True)
    has_new = count > 0  # otherwise the page shows all images
    selection = _Selection(count or tables.count(new=False))
    for rows in tables.classified(new=has_new):
        selection.add(rows)
    return {
        "has_new": has_new,
        "left_out": left_out_in_words(summary),
        "history": history,
        "classes": classes,
        "most": max((row[name] or 0 for row in classes for name in ("share", "usual")), default=0),
        "unnamed": max(0, len(history.labels) - _CLASSES),
        "confidences": _confidences(history),
        "review": _review(selection, Album(summary.folder)),
        "failures": list(_failures(tables.failures, summary)),
        "known_failures": _known_failures(tables.failures, summary),
        "stages": list(_stages(summary)),
        "images": list(page.fit_rows(_ROWS_BYTES, selection.sample, summary.folder)),
        "total": selection.total,
    }


def _classes(history: RunHistory) -> Iterator[dict[str, Any]]:
    """Rows of classes: images, and shares in this run, before, usually, and in training.

    The numbers of images are those of predictions.csv; shares are of the classes that the network
    predicts, so that they can be compared whatever the abstention threshold.
    """
    previous = history.previous
    shares = {
        "share": history.shares(history.new),
        "previous": history.shares(previous.new if previous else None),
        "usual": history.usual,
        "training": history.training,
    }
    unsure = None if history.summary.min_confidence is None else UNSURE
    for index, label in enumerate(history.labels[:_CLASSES]):
        yield {
            "label": label,
            "images": history.summary.labels.get(label, 0),
            "new": history.new.labels.get(label, 0),
            **{
                name: None if column is None or label == unsure else float(column[index])
                for name, column in shares.items()
            },
        }


def _confidences(history: RunHistory) -> dict[str, Any] | None:
    """Shares of the bins of confidence, for a histogram; None without new images."""
    if not history.new.classified:
        return None
    shares = np.array(history.new.confidences) / history.new.classified
    usual = history.usual_confidences
    largest = max(float(shares.max()), 0.0 if usual is None else float(usual.max()))
    return {
        "shares": shares.tolist(),
        "usual": None if usual is None else usual.tolist(),
        "most": largest,
    }


class _Selection:
    """Selects the images that the page shows, from batches of rows sorted by path.

    Args:
        total: number of images.

    Attributes:
        sample: all images, or an evenly spread sample.
        disagreements: number of images whose SVM label is not the network's.
    """

    def __init__(self, total: int) -> None:
        self.total, self.disagreements, self._passed = total, 0, 0
        self.sample: list[dict[str, Any]] = []
        self._sample_positions = np.unique(
            np.linspace(0, total - 1, min(_ROWS, total)).round().astype(np.int64)
        )
        self._least_confident: list[pa.Table] = []
        self._disagreeing: list[pa.Table] = []
        self._most_confident: list[pa.Table] = []
        self._counts: Counter[str] = Counter()

    def add(self, rows: pa.Table) -> None:
        """Adds a batch of rows."""
        upcoming = self._sample_positions - self._passed
        positions = upcoming[(upcoming >= 0) & (upcoming < rows.num_rows)]
        self.sample += rows.take(pa.array(positions)).to_pylist()
        self._passed += rows.num_rows
        self._counts.update(counts(network_labels(rows)))
        self._least_confident = [
            _top_rows(self._least_confident, rows, _LEAST_CONFIDENT, "ascending")
        ]
        self._most_confident = [
            _most_confident_rows(pa.concat_tables([*self._most_confident, rows]))
        ]
        if "svm_label" in rows.column_names:
            predicted = network_labels(rows).cast(pa.string())
            rows = rows.filter(pc.not_equal(predicted, rows["svm_label"].cast(pa.string())))
            self.disagreements += rows.num_rows
            self._disagreeing = [_top_rows(self._disagreeing, rows, _DISAGREEING, "descending")]

    @property
    def least_confident(self) -> list[dict[str, Any]]:
        """The least confident images."""
        return [row for rows in self._least_confident for row in rows.to_pylist()]

    @property
    def disagreeing(self) -> list[dict[str, Any]]:
        """The most confident of the images where network and SVM disagree."""
        return [row for rows in self._disagreeing for row in rows.to_pylist()]

    @property
    def most_confident(self) -> Iterator[dict[str, Any]]:
        """The most confident images of the most frequent classes."""
        most_frequent = sorted(self._counts.items(), key=lambda item: -item[1])[
            :_MOST_CONFIDENT_CLASSES
        ]
        for label, _ in most_frequent:
            for rows in self._most_confident:
                yield from rows.filter(pc.equal(network_labels(rows), label)).to_pylist()


def _top_rows(tables: list[pa.Table], rows: pa.Table, count: int, order: str) -> pa.Table:
    """The first rows in the order of confidence, then of path."""
    all_rows = pa.concat_tables([*tables, rows])
    keys = [("confidence", order), ("path", "ascending")]
    return all_rows.take(pc.select_k_unstable(all_rows, min(count, all_rows.num_rows), keys))


def _most_confident_rows(rows: pa.Table) -> pa.Table:
    """The most confident rows of each class; of equally confident ones the first."""
    label = network_labels(rows).cast(pa.string()).combine_chunks().dictionary_encode()
    label = label.indices.to_numpy()
    order = np.lexsort((-rows["confidence"].to_numpy(), label))
    ordered = label[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return rows.take(pa.array(order[rank < _MOST_CONFIDENT]))


def _review(selection: _Selection, album: Album) -> dict[str, Any]:
    """The images for review."""
    return {
        "least_confident": album.pictures(selection.least_confident),
        "disagreeing": album.pictures(selection.disagreeing),
        "disagreements": selection.disagreements,
        "most_confident": album.pictures(selection.most_confident),
    }


def _failures(failures: pa.Table, summary: Summary) -> Iterator[dict[str, Any]]:
    """For each reason: the number of new failures, and as many of them as fit into the page."""
    new = failures.filter(failures["new"])
    reasons = counts(new["reason"])
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        rows = new.filter(pc.equal(new["reason"], reason)).slice(0, _FAILED).to_pylist()
        named = page.fit_rows(_FAILED_BYTES // len(reasons), rows, summary.folder)
        yield {"reason": reason, "count": count, "rows": list(named)}


def _known_failures(failures: pa.Table, summary: Summary) -> dict[str, Any] | None:
    """The number of images that failed before, since when, and the last ones; None without any."""
    known = failures.filter(pc.invert(failures["new"]))
    if not known.num_rows:
        return None
    latest = known.sort_by([("since", "descending"), ("path", "ascending")]).slice(0, _FAILED)
    named = page.fit_rows(_KNOWN_BYTES, latest.to_pylist(), summary.folder)
    since = pc.min(known["since"]).as_py()
    return {"count": known.num_rows, "since": since, "rows": list(named)}


def _stages(summary: Summary) -> Iterator[dict[str, Any]]:
    largest = max(summary.stages.values(), default=0.0)
    done = summary.classified + summary.failed
    for stage, name in _STAGES.items():
        if stage in summary.stages:
            seconds = summary.stages[stage]
            rate = done / seconds if stage in _PER_IMAGE and seconds else None
            share = seconds / largest if largest else 0.0
            yield {"name": name, "seconds": seconds, "rate": rate, "share": share}
