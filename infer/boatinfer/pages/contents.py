"""What the page of a run holds, as values for its template."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.history import RunHistory
from boatinfer.i18n import Language
from boatinfer.pages import page
from boatinfer.pages.selection import Selection
from boatinfer.pages.thumbnails import Album, Picture
from boatinfer.pages.trends import Trends
from boatinfer.results.summary import Summary
from boatinfer.results.tables.predictions import UNKNOWN, UNSURE, counts

__all__ = [
    "class_pictures",
    "class_rows",
    "confidence_histogram",
    "known_failures",
    "new_failures",
    "review",
    "stages",
]

#: Classes in the table of classes, at most, and those of them that are visible at first.
_CLASSES, _VISIBLE_CLASSES = 200, 16
#: Classes with pictures, at most.
_PICTURED = 60
#: Pictures in each part of the review.
_UNSURE, _LEAST_CONFIDENT, _DISAGREEING = 9, 6, 3
#: Failures that are listed for each reason, at most.
_FAILED = 50
#: Bytes that the lists of failures may take.
_FAILED_BYTES, _KNOWN_BYTES = 200_000, 50_000

#: The stages that are done image by image.
_PER_IMAGE = {"read", "decode", "infer", "record"}


def class_rows(history: RunHistory, trends: Trends) -> dict[str, Any]:
    """The classes: images, and shares in this run, before, usually, and in training.

    The numbers of images are those of predictions.csv; shares are of the classes that the network
    predicts, so that they can be compared whatever the abstention threshold.
    """
    rows = list(_class_rows(history, trends))
    values = (row[name] or 0 for row in rows for name in ("share", "usual"))
    seen = [row for row in rows if any(row[name] for name in ("new", "share", "usual"))] or rows
    visible = seen[:_VISIBLE_CLASSES]
    return {
        "visible": visible,
        "folded": [row for row in rows if row not in visible],
        "most": max(values, default=0),
        "unnamed": max(0, len(history.labels) - _CLASSES),
    }


def _class_rows(history: RunHistory, trends: Trends) -> Iterator[dict[str, Any]]:
    previous = history.previous
    shares = {
        "share": history.shares(history.new),
        "previous": history.shares(previous.new if previous else None),
        "usual": history.usual,
        "training": history.training,
    }
    no_classes = {UNSURE} if history.summary.min_confidence is not None else set()
    no_classes |= set() if history.summary.max_novelty is None else {UNKNOWN}
    for index, label in enumerate(history.labels[:_CLASSES]):
        yield {
            "label": label,
            "images": history.summary.labels.get(label, 0),
            "new": history.new.labels.get(label, 0),
            "line": None if label in no_classes else trends.share(label),
            **{
                name: None if column is None or label in no_classes else float(column[index])
                for name, column in shares.items()
            },
        }


def confidence_histogram(history: RunHistory) -> dict[str, Any] | None:
    """Shares of the bins of confidence; None without new images."""
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


def review(selection: Selection, album: Album) -> dict[str, Any]:
    """The images for review."""
    numbers = {
        "unknown": _UNSURE,
        "unsure": _UNSURE,
        "least_confident": _LEAST_CONFIDENT,
        "disagreeing": _DISAGREEING,
    }
    rows = {part: selection.top(part) for part in numbers}
    candidates = selection.of_classes
    album.prepare(row for group in [*rows.values(), *candidates.values()] for row in group)
    parts = {
        part: album.fit([album.distinct(rows[part])[:number]])[0]
        for part, number in numbers.items()
    }
    return {
        **parts,
        "unsure_shown": _stand_for(parts["unsure"]),
        "unsure_total": selection.reviewed(UNSURE),
        "unknown_total": selection.reviewed(UNKNOWN),
        "disagreements": selection.disagreements,
    }


def class_pictures(selection: Selection, album: Album) -> list[dict[str, Any]]:
    """Pictures of each class, as many as fit into the page."""
    candidates = list(selection.of_classes.items())[:_PICTURED]
    fitting = album.fit([album.distinct(rows) for _, rows in candidates])
    return [
        {
            "label": label,
            "total": selection.available[label],
            "shown": _stand_for(pictures),
            "pictures": pictures,
        }
        for (label, _), pictures in zip(candidates, fitting, strict=True)
        if pictures
    ]


def _stand_for(pictures: list[Picture]) -> int:
    """Number of images that pictures stand for, with those that are nearly identical."""
    return sum(1 + picture.alike for picture in pictures)


def new_failures(failures: pa.Table, link: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    """For each reason: the number of new failures, and as many of them as fit into the page."""
    new = failures.filter(failures["new"])
    reasons = counts(new["reason"])
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        rows = new.filter(pc.equal(new["reason"], reason)).slice(0, _FAILED).to_pylist()
        named = page.fit_rows(_FAILED_BYTES // len(reasons), rows, link)
        yield {"reason": reason, "count": count, "rows": list(named)}


def known_failures(failures: pa.Table, link: Callable[[str], str]) -> dict[str, Any] | None:
    """The number of images that failed before, since when, and the last ones; None without any."""
    known = failures.filter(pc.invert(failures["new"]))
    if not known.num_rows:
        return None
    latest = known.sort_by([("since", "descending"), ("path", "ascending")]).slice(0, _FAILED)
    named = page.fit_rows(_KNOWN_BYTES, latest.to_pylist(), link)
    since = pc.min(known["since"]).as_py()
    return {"count": known.num_rows, "since": since, "rows": list(named)}


def _stage_names(language: Language) -> dict[str, str]:
    """The stages of a run in their order, with their display names."""
    return {
        "start": language.gettext("Opening and testing the model"),
        "list": language.gettext("Listing the folder"),
        "read": language.gettext("Reading files"),
        "decode": language.gettext("Decoding images"),
        "infer": language.gettext("Running the network"),
        "record": language.gettext("Recording results"),
        "tables": language.gettext("Proving and writing tables"),
    }


def stages(summary: Summary, language: Language) -> Iterator[dict[str, Any]]:
    """The stages of a run, with the time of each."""
    largest = max(summary.stages.values(), default=0.0)
    done = summary.classified + summary.failed
    for stage, name in _stage_names(language).items():
        if stage in summary.stages:
            seconds = summary.stages[stage]
            rate = done / seconds if stage in _PER_IMAGE and seconds else None
            share = seconds / largest if largest else 0.0
            yield {"name": name, "seconds": seconds, "rate": rate, "share": share}
