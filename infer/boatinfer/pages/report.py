"""The page of a run: what a person wants to know in the morning, in the order they want it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.pages import page
from boatinfer.pages.nights import Nights
from boatinfer.pages.thumbnails import Album
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.left_out import left_out_in_words
from boatinfer.results.published_tables import read_tables
from boatinfer.results.summary import Summary
from boatinfer.results.tables.predictions import Tables, counts, network_labels
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors

__all__ = ["make_report", "write"]

#: Classes in the table of classes, at most.
_CLASSES = 200
#: Pictures in each part of the review: the most doubtful, those where network and SVM
#: disagree, and the surest of each class, of the commonest classes.
_DOUBTFUL, _DISAGREEING, _SUREST, _SUREST_CLASSES = 18, 12, 2, 24
#: Failures that are named, of each reason.
_FAILED = 50
#: Rows of the table of images; a larger night is sampled.
_ROWS = 400
#: Bytes that names may take, of failures and in the table of images.
_FAILED_BYTES, _ROWS_BYTES = 250_000, 500_000

#: Between these a page has word of a later run that is not complete.
_LATER = ("<!-- later run -->", "<!-- end of later run -->")

#: The stages of a run, for people, in their order.
_STAGES = {
    "start": "Opening and testing the model",
    "list": "Listing the folder",
    "read": "Reading files",
    "decode": "Decoding images",
    "infer": "Running the network",
    "record": "Recording results",
    "tables": "Proving and writing tables",
}
#: Those that are done image by image.
_PER_IMAGE = {"read", "decode", "infer", "record"}


def write(results: Results, summary: Summary, tables: Tables | None, wanted: bool = True) -> None:
    """Writes ``report.html``, or removes an older one that would say something else.

    Args:
        results: the folder to write into.
        summary: the run in figures.
        tables: what predictions.csv and failures.csv hold; None while the run goes on, or
            if it did not come to its end: the page then says so, above that of the last
            run that is complete.
        wanted: whether there is to be a page.

    Raises:
        OutputError: the page could not be written.
    """
    if not wanted:
        with translate_write_errors(results.report):
            results.report.unlink(missing_ok=True)
        return
    if tables is None:
        _tell(results, summary)
    else:
        morning = _morning(results, summary, tables)
        page.write(results.report, "report.html", summary=summary, morning=morning)


def make_report(out: Place) -> Place:
    """Writes ``report.html`` anew, of the last complete run and with word of a later one.

    Args:
        out: the results folder.

    Returns:
        The page.

    Raises:
        UsageError: it is no results folder.
        BusyError: a run is working in it.
        OutputError: the results are damaged, or the page could not be written.
    """
    results = find_results(out)
    last = results.last_run() or results.last_finished()  # which says why there is none
    with results.hold(last.folder):
        complete = results.last_complete()
        if complete is not None:
            write(results, complete, read_tables(results))
        if not last.complete:
            write(results, last, None)
    return results.report


def _tell(results: Results, summary: Summary) -> None:
    try:
        before = results.report.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        before = ""
    head, begin, rest = before.partition(_LATER[0])
    _, end, tail = rest.partition(_LATER[1])
    if end:
        told = page.rendered("later.html", summary=summary)
        page.save(results.report, "".join([head, begin, told, end, tail]))
    else:
        page.write(results.report, "unfinished.html", summary=summary)


def _morning(results: Results, summary: Summary, tables: Tables) -> dict[str, Any]:
    # of every class what the network says, even of an image that is left to people
    labels = counts(network_labels(tables.predictions))
    nights = Nights.of(msgspec.structs.replace(summary, labels=labels), results.history(summary))
    classes = list(_classes(nights))
    count = tables.count(new=True)
    anew = count > 0  # else the page shows what is there
    picked = _Picked(count or tables.count(new=False))
    for rows in tables.classified(new=anew):
        picked.add(rows)
    return {
        "anew": anew,
        "left_out": left_out_in_words(summary),
        "nights": nights,
        "classes": classes,
        "most": max((of[name] or 0 for of in classes for name in ("share", "usual")), default=0),
        "unnamed": max(0, len(nights.labels) - _CLASSES),
        "confidences": _confidences(nights),
        "review": _review(picked, Album(summary.folder)),
        "failures": list(_failures(tables.failures, summary)),
        "stages": list(_stages(summary)),
        "images": list(page.within(_ROWS_BYTES, picked.sample, summary.folder)),
        "of": picked.of,
    }


def _classes(nights: Nights) -> Iterator[dict[str, Any]]:
    """One row for each class: its images and its shares, now, before, usually, in training."""
    previous = nights.previous
    shares = {
        "share": nights.shares(nights.now),
        "previous": nights.shares(previous.new if previous else None),
        "usual": nights.usual,
        "training": nights.training,
    }
    for place, label in enumerate(nights.labels[:_CLASSES]):
        yield {
            "label": label,
            "images": nights.summary.labels.get(label, 0),
            "new": nights.now.labels.get(label, 0),
            **{name: None if of is None else float(of[place]) for name, of in shares.items()},
        }


def _confidences(nights: Nights) -> dict[str, Any] | None:
    """Shares of the spans of confidence, for a histogram; None where nothing is new."""
    if not nights.now.images:
        return None
    now = np.array(nights.now.confidences) / nights.now.images
    usual = nights.usual_confidences
    most = max(float(now.max()), 0.0 if usual is None else float(usual.max()))
    return {"now": now.tolist(), "usual": None if usual is None else usual.tolist(), "most": most}


class _Picked:
    """The images that the page shows, picked as the rows go by, sorted by path.

    Args:
        of: how many images will go by.

    Attributes:
        sample: all of them, or some, evenly spread.
        disagreements: how many there are to which the SVM gives another label than the network.
    """

    def __init__(self, of: int) -> None:
        self.of, self.disagreements, self._passed = of, 0, 0
        self.sample: list[dict[str, Any]] = []
        self._places = np.unique(np.linspace(0, of - 1, min(_ROWS, of)).round().astype(np.int64))
        self._doubtful: list[pa.Table] = []
        self._disagreeing: list[pa.Table] = []
        self._surest: list[pa.Table] = []
        self._counts: Counter[str] = Counter()

    def add(self, rows: pa.Table) -> None:
        """Looks at more rows."""
        places = self._places - self._passed
        here = places[(places >= 0) & (places < rows.num_rows)]
        self.sample += rows.take(pa.array(here)).to_pylist()
        self._passed += rows.num_rows
        self._counts.update(counts(network_labels(rows)))
        self._doubtful = [_first(self._doubtful, rows, _DOUBTFUL, "ascending")]
        self._surest = [_surest(pa.concat_tables([*self._surest, rows]))]
        if "svm_label" in rows.column_names:
            said = network_labels(rows).cast(pa.string())
            rows = rows.filter(pc.not_equal(said, rows["svm_label"].cast(pa.string())))
            self.disagreements += rows.num_rows
            self._disagreeing = [_first(self._disagreeing, rows, _DISAGREEING, "descending")]

    @property
    def doubtful(self) -> list[dict[str, Any]]:
        """The least confident."""
        return [row for rows in self._doubtful for row in rows.to_pylist()]

    @property
    def disagreeing(self) -> list[dict[str, Any]]:
        """Those where network and SVM disagree, the most confident."""
        return [row for rows in self._disagreeing for row in rows.to_pylist()]

    @property
    def surest(self) -> Iterator[dict[str, Any]]:
        """The most confident of the commonest classes."""
        commonest = sorted(self._counts.items(), key=lambda item: -item[1])[:_SUREST_CLASSES]
        for label, _ in commonest:
            for rows in self._surest:
                yield from rows.filter(pc.equal(network_labels(rows), label)).to_pylist()


def _first(before: list[pa.Table], rows: pa.Table, count: int, order: str) -> pa.Table:
    """The first rows by confidence, then by path."""
    every = pa.concat_tables([*before, rows])
    keys = [("confidence", order), ("path", "ascending")]
    return every.take(pc.select_k_unstable(every, min(count, every.num_rows), keys))


def _surest(rows: pa.Table) -> pa.Table:
    """The first rows of each class by confidence; of equal ones those that come first."""
    label = network_labels(rows).cast(pa.string()).combine_chunks().dictionary_encode()
    label = label.indices.to_numpy()
    order = np.lexsort((-rows["confidence"].to_numpy(), label))
    ordered = label[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return rows.take(pa.array(order[rank < _SUREST]))


def _review(picked: _Picked, album: Album) -> dict[str, Any]:
    """The pictures that a person should look at."""
    return {
        "doubtful": album.pictures(picked.doubtful),
        "disagreeing": album.pictures(picked.disagreeing),
        "disagreements": picked.disagreements,
        "surest": album.pictures(picked.surest),
    }


def _failures(failures: pa.Table, summary: Summary) -> Iterator[dict[str, Any]]:
    """One item for each reason: how many, and as many of them as there is room for."""
    for reason, count in sorted(summary.failures.items(), key=lambda item: -item[1]):
        rows = failures.filter(pc.equal(failures["reason"], reason)).slice(0, _FAILED)
        named = page.within(
            _FAILED_BYTES // len(summary.failures), rows.to_pylist(), summary.folder
        )
        yield {"reason": reason, "count": count, "rows": list(named)}


def _stages(summary: Summary) -> Iterator[dict[str, Any]]:
    most = max(summary.stages.values(), default=0.0)
    done = summary.classified + summary.failed
    for stage, name in _STAGES.items():
        if stage in summary.stages:
            seconds = summary.stages[stage]
            rate = done / seconds if stage in _PER_IMAGE and seconds else None
            share = seconds / most if most else 0.0
            yield {"name": name, "seconds": seconds, "rate": rate, "share": share}
