"""Selects the images that the page of a run shows, from batches of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.results.tables.predictions import (
    UNKNOWN,
    UNSURE,
    counts,
    network_labels,
    unreviewed,
)

__all__ = ["LabelSample", "Selection", "label_counts", "quotas"]

#: Candidates for the pictures of each part, of which nearly identical ones are shown once.
_UNSURE, _LEAST_CONFIDENT, _DISAGREEING = 60, 40, 24
#: Candidates for the pictures of all classes.
_OF_CLASSES = 160
#: Rows of the table of images, at most; a larger run is sampled, class by class.
_ROWS = 400


def label_counts(batches: Iterable[pa.Table]) -> dict[str, int]:
    """Number of images of each label, in batches of rows."""
    total: Counter[str] = Counter()
    for rows in batches:
        total.update(counts(rows["label"]))
    return dict(total)


def quotas(available: Mapping[str, int], total: int, each: int | None = None) -> dict[str, int]:
    """Shares out a number of places: as equally as possible, to none more than it can use.

    Args:
        available: how many each can use.
        total: number of places.
        each: places for one, at most.
    """
    found: dict[str, int] = {}
    for name, count in sorted(available.items(), key=lambda item: item[1]):
        share = total // (len(available) - len(found))
        found[name] = min(count, share) if each is None else min(count, share, each)
        total -= found[name]
    return found


class LabelSample:
    """Takes evenly spread rows of each label.

    Args:
        available: number of rows of each label.
        taken: number of rows to take of each.
    """

    def __init__(self, available: Mapping[str, int], taken: Mapping[str, int]) -> None:
        self._positions = {
            label: np.unique(np.linspace(0, available[label] - 1, n).round().astype(np.int64))
            for label, n in taken.items()
            if n
        }
        self._passed: Counter[str] = Counter()
        self._tables: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Adds a batch of rows."""
        chosen = [np.zeros(0, np.int64)]
        for label, indices in _by_label(rows):
            passed = self._passed[label]
            self._passed[label] += len(indices)
            upcoming = self._positions.get(label, chosen[0]) - passed
            chosen.append(indices[upcoming[(upcoming >= 0) & (upcoming < len(indices))]])
        self._tables.append(rows.take(pa.array(np.sort(np.concatenate(chosen)))))

    def rows(self, label: str | None = None) -> list[dict[str, Any]]:
        """The rows taken, or those of one label, in their order."""
        tables = self._tables
        if label is not None:
            tables = [
                rows.filter(pc.equal(rows["label"].cast(pa.string()), label)) for rows in tables
            ]
        return [row for table in tables for row in table.to_pylist()]


class Selection:
    """Selects the images that the page of a run shows, from batches of rows sorted by path.

    Args:
        available: number of rows of each label.
        reviewed: the labels that are no classes: `UNSURE`, `UNKNOWN`, or both.

    Attributes:
        total: number of images.
        available: number of images of each label.
        disagreements: number of images whose SVM label is not the network's.
    """

    def __init__(self, available: Mapping[str, int], reviewed: Collection[str] = ()) -> None:
        self.available, self._reviewed = available, reviewed
        self.total, self.disagreements = sum(available.values()), 0
        certain = {label: n for label, n in available.items() if label not in reviewed}
        self._sample = LabelSample(available, quotas(available, _ROWS))
        self._of_classes = LabelSample(certain, quotas(certain, _OF_CLASSES))
        self._top: dict[str, pa.Table] = {}

    def add(self, rows: pa.Table) -> None:
        """Adds a batch of rows."""
        self._sample.add(rows)
        self._of_classes.add(rows)
        rows = unreviewed(rows)
        certain = rows
        if UNKNOWN in self._reviewed:
            unknown = pc.equal(certain["label"].cast(pa.string()), UNKNOWN)
            self._add_top("unknown", certain.filter(unknown), _UNSURE, "descending", "novelty")
            certain = certain.filter(pc.invert(unknown))
        if UNSURE in self._reviewed:
            unsure = pc.equal(certain["label"].cast(pa.string()), UNSURE)
            self._add_top("unsure", certain.filter(unsure), _UNSURE, "ascending")
            certain = certain.filter(pc.invert(unsure))
        self._add_top("least_confident", certain, _LEAST_CONFIDENT, "ascending")
        if "svm_label" in rows.column_names:
            predicted = network_labels(rows).cast(pa.string())
            rows = rows.filter(pc.not_equal(predicted, rows["svm_label"].cast(pa.string())))
            self.disagreements += rows.num_rows
            self._add_top("disagreeing", rows, _DISAGREEING, "descending")

    def reviewed(self, label: str) -> int:
        """Number of images with one of the labels that are no classes; 0 if it is not in use."""
        return self.available.get(label, 0) if label in self._reviewed else 0

    @property
    def sample(self) -> list[dict[str, Any]]:
        """All images, or a sample of each class, by path."""
        return self._sample.rows()

    @property
    def of_classes(self) -> dict[str, list[dict[str, Any]]]:
        """A sample of each class, the least confident first; the most frequent class first."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(self._of_classes.rows(), key=lambda row: float(row["confidence"])):
            found.setdefault(row["label"], []).append(row)
        order = sorted(found, key=lambda label: (-self.available[label], label))
        return {label: found[label] for label in order}

    def top(self, part: str) -> list[dict[str, Any]]:
        """Candidates: ``unknown``, ``unsure``, ``least_confident``, or ``disagreeing`` ones."""
        return self._top[part].to_pylist() if part in self._top else []

    def _add_top(
        self, part: str, rows: pa.Table, count: int, order: str, column: str = "confidence"
    ) -> None:
        """Keeps the first rows in the order of a column, then of path."""
        rows = pa.concat_tables([*filter(None, [self._top.get(part)]), rows])
        keys = [(column, order), ("path", "ascending")]
        self._top[part] = rows.take(pc.select_k_unstable(rows, min(count, rows.num_rows), keys))


def _by_label(rows: pa.Table) -> Iterable[tuple[str, npt.NDArray[np.int64]]]:
    """Each label of a batch with the indices of its rows."""
    labels = rows["label"].cast(pa.string()).combine_chunks().dictionary_encode()
    codes = labels.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(labels.dictionary)), side="right")
    return zip(labels.dictionary.to_pylist(), np.split(order, ends[:-1]), strict=True)
