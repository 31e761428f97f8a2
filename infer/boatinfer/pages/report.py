"""The page of a run: what a person wants to know in the morning, in the order they want it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.pages import page
from boatinfer.pages.nights import Nights
from boatinfer.pages.thumbnails import Album
from boatinfer.results.folder import Results
from boatinfer.results.predictions import Tables, guesses
from boatinfer.results.summary import Summary
from boatinfer.storage.files import writing

__all__ = ["write"]

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
            if it did not come to its end: the page then says so.
        wanted: whether there is to be a page.

    Raises:
        OutputError: the page could not be written.
    """
    if not wanted:
        with writing(results.report):
            results.report.unlink(missing_ok=True)
        return
    if tables is None:
        page.write(results.report, "unfinished.html", summary=summary)
    else:
        morning = _morning(results, summary, tables)
        page.write(results.report, "report.html", summary=summary, morning=morning)


def _morning(results: Results, summary: Summary, tables: Tables) -> dict[str, Any]:
    # of every class what the network says, even of an image that is left to people
    said = guesses(tables.predictions).drop_null().value_counts().to_pylist()
    labels = {of["values"]: of["counts"] for of in said}
    nights = Nights.of(msgspec.structs.replace(summary, labels=labels), results.history(summary))
    classes = list(_classes(nights))
    classified = tables.new
    anew = classified.num_rows > 0
    if not anew:  # then the page shows what is there
        predictions = tables.predictions
        classified = predictions.filter(pc.is_valid(predictions["label"]))
    return {
        "anew": anew,
        "nights": nights,
        "classes": classes,
        "most": max((of[name] or 0 for of in classes for name in ("share", "usual")), default=0),
        "unnamed": max(0, len(nights.labels) - _CLASSES),
        "confidences": _confidences(nights),
        "review": _review(classified, Album(summary.folder)),
        "failures": list(_failures(tables.failures, summary)),
        "stages": list(_stages(summary)),
        "images": _sample(classified, summary.folder),
        "of": classified.num_rows,
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


def _review(classified: pa.Table, album: Album) -> dict[str, Any]:
    """The pictures that a person should look at."""
    doubtful = _first(classified, _DOUBTFUL, "ascending")
    disagreeing = _disagreeing(classified)
    return {
        "doubtful": album.pictures(doubtful.to_pylist()),
        "disagreeing": album.pictures(_first(disagreeing, _DISAGREEING).to_pylist()),
        "disagreements": disagreeing.num_rows,
        "surest": album.pictures(_surest(classified)),
    }


def _disagreeing(classified: pa.Table) -> pa.Table:
    """The images to which the SVM gives another label than the network."""
    if "svm_label" not in classified.column_names:
        return classified.slice(0, 0)
    return classified.filter(pc.not_equal(guesses(classified), classified["svm_label"]))


def _surest(classified: pa.Table) -> Iterator[Mapping[str, Any]]:
    labels = guesses(classified)
    counts = sorted(labels.value_counts().to_pylist(), key=lambda of: -of["counts"])
    for of in counts[:_SUREST_CLASSES]:
        yield from _first(classified.filter(pc.equal(labels, of["values"])), _SUREST).to_pylist()


def _first(rows: pa.Table, count: int, order: str = "descending") -> pa.Table:
    """The first rows by confidence, then by path."""
    keys = [("confidence", order), ("path", "ascending")]
    return rows.take(pc.select_k_unstable(rows, min(count, rows.num_rows), keys))


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


def _sample(classified: pa.Table, folder: str) -> list[dict[str, Any]]:
    """All images, or some of them, evenly spread over the paths."""
    count = classified.num_rows
    places = np.unique(np.linspace(0, count - 1, min(_ROWS, count)).round().astype(np.int64))
    rows = classified.take(pa.array(places))
    return list(page.within(_ROWS_BYTES, rows.to_pylist(), folder))
