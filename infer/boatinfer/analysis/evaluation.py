"""How good predictions are, image by image and class by class, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from boatinfer.analysis import metrics
from boatinfer.analysis.abstention import Threshold
from boatinfer.analysis.metrics import ClassScores, Intervals, Labels
from boatinfer.text import printable, table

__all__ = ["Confidence", "Evaluation", "side_by_side"]

#: Of the likeliest k classes one is right: for these k, where there are more classes.
_TOP = (1, 2, 3, 5)
#: Shares of the images that are kept, in a table.
_COVERAGES = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5)
#: Points of the risk-coverage curve in the JSON, at most.
_POINTS = 101
#: Pairs of classes that the list of the most confused names.
_PAIRS = 10
#: Paths of each pair in the text, and in the JSON.
_PATHS, _ALL_PATHS = 3, 100
#: With more classes the text leaves the confusion matrix to the JSON.
_MATRIX = 40


@dataclass(frozen=True)
class Confidence:
    """How sure a network was of N predictions.

    Attributes:
        confidence: float32 [N], the probability of the likeliest class.
        rank: int64 [N], the place of the true class, 0 for the likeliest.
    """

    confidence: npt.NDArray[np.float32]
    rank: Labels

    @classmethod
    def of(cls, probabilities: npt.NDArray[np.float32], truth: Labels) -> Self:
        """What the probabilities float32 [N, C] of images of the classes int64 [N] say."""
        return cls(probabilities.max(axis=1), metrics.ranks(probabilities, truth))


@dataclass(frozen=True)
class Evaluation:
    """Predictions of images whose class is known; at least one.

    Attributes:
        classes: names, C of them.
        paths: str [N], the images.
        truth: int64 [N], places among the classes.
        predicted: int64 [N].
        confidence: how sure the network was; None for an SVM, whose scores are no probabilities.
    """

    classes: Sequence[str]
    paths: npt.NDArray[np.object_]
    truth: Labels
    predicted: Labels
    confidence: Confidence | None = None

    @cached_property
    def confusion(self) -> Labels:
        """Counts of images, int64 [C, C]: rows are true classes, columns predicted ones."""
        return metrics.confusion(self.truth, self.predicted, len(self.classes))

    @cached_property
    def intervals(self) -> Intervals:
        """95 % intervals of all figures."""
        return metrics.intervals(self.confusion)

    @cached_property
    def scores(self) -> ClassScores:
        """Precision, recall and F1 of each class."""
        return metrics.class_scores(self.confusion)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which predictions are true, bool [N]."""
        return np.asarray(self.truth == self.predicted)

    @property
    def accuracy(self) -> float:
        """Share of the images whose prediction is true."""
        return metrics.accuracy(self.truth, self.predicted)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur in the truth or among the predictions."""
        return metrics.macro_f1(self.truth, self.predicted)

    @property
    def absent(self) -> list[str]:
        """Classes of which there is no image."""
        there = self.confusion.sum(axis=1)
        return [name for name, count in zip(self.classes, there, strict=True) if not count]

    @cached_property
    def risk_coverage(self) -> metrics.RiskCoverage:
        """Accuracy and share of what is at least as confident as each threshold.

        Raises:
            ValueError: of an SVM, which has no confidence.
        """
        return metrics.risk_coverage(self.right, self._sure.confidence)

    @property
    def kept(self) -> list[dict[str, float]]:
        """The points of the risk-coverage curve that a table shows."""
        return self.risk_coverage.points(_COVERAGES)

    def above(self, threshold: float) -> Threshold:
        """What is at least as confident as a threshold, and how much of it is right."""
        kept = self._sure.confidence >= threshold
        counts = int(kept.sum()), int(self.right[kept].sum()), len(kept)
        return Threshold(threshold, None, *counts)

    @property
    def _sure(self) -> Confidence:
        if self.confidence is None:
            raise ValueError("an SVM's scores are no confidence")
        return self.confidence

    def confused(self) -> Iterator[tuple[str, str, list[str]]]:
        """The most confused pairs: true class, predicted class, and all such images."""
        wrong = self.confusion - np.diag(self.confusion.diagonal())
        for place in np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]:
            true, predicted = divmod(int(place), len(self.classes))
            if not wrong[true, predicted]:
                return
            images = self.paths[(self.truth == true) & (self.predicted == predicted)]
            yield self.classes[true], self.classes[predicted], images.tolist()

    def document(self) -> dict[str, Any]:
        """All figures, as JSON can hold them; what nothing is known of is null."""
        return {
            "images": len(self.truth),
            **self.headline(),
            "classes": self._by_class(),
            "confusion": self.confusion.tolist(),
            "confused": self.pairs_document("truth", "predicted"),
            **(self._by_confidence(self.confidence) if self.confidence else {}),
        }

    def pairs_document(self, one: str, other: str) -> list[dict[str, Any]]:
        """The most confused pairs as JSON can hold them; the two classes by these keys."""
        return [
            {one: true, other: predicted, "images": len(paths), "paths": paths[:_ALL_PATHS]}
            for true, predicted, paths in self.confused()
        ]

    def headline(self) -> dict[str, Any]:
        """Accuracy and macro-F1 with their 95 % intervals."""
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": self.intervals.accuracy.tolist(),
            "macro_f1": self.macro_f1,
            "macro_f1_interval": self.intervals.macro_f1.tolist(),
        }

    def _by_class(self) -> dict[str, dict[str, Any]]:
        columns: dict[str, list[Any]] = {}
        for name in ClassScores._fields:
            columns[name] = _known(getattr(self.scores, name))
            ends = getattr(self.intervals, name).T
            columns[f"{name}_interval"] = [None if np.isnan(e).any() else e.tolist() for e in ends]
        columns["images"] = self.confusion.sum(axis=1).tolist()
        columns["predicted"] = self.confusion.sum(axis=0).tolist()
        rows = zip(*columns.values(), strict=True)
        return {
            name: dict(zip(columns, row, strict=True))
            for name, row in zip(self.classes, rows, strict=True)
        }

    def _by_confidence(self, sure: Confidence) -> dict[str, Any]:
        bins = metrics.calibration(self.right, sure.confidence)
        edges = np.linspace(0, 1, len(bins.images) + 1)
        return {
            "top_k": self._top(sure),
            "calibration_error": bins.error,
            "calibration": [
                {"from": low, "to": high, "images": count, "confidence": mean, "accuracy": share}
                for low, high, count, mean, share in zip(
                    edges[:-1].tolist(),
                    edges[1:].tolist(),
                    bins.images.tolist(),
                    _known(bins.confidence),
                    _known(bins.accuracy),
                    strict=True,
                )
            ],
            "risk_coverage": self.risk_coverage.points(np.linspace(0, 1, _POINTS)),
        }

    def _top(self, sure: Confidence) -> dict[str, float]:
        ks = [k for k in _TOP if k < len(self.classes)]
        return {str(k): float(np.mean(sure.rank < k)) for k in ks}

    def text(self, what: str = "") -> str:
        """All figures, for a terminal.

        Args:
            what: of which images, for the headings.
        """
        blocks = [self._class_table(), self.matrix()]
        pairs = self.pairs()
        blocks += [["Most confused", *pairs]] if pairs else []
        blocks += self._confidence_tables(self.confidence) if self.confidence else []
        rest = ("\n".join(block) for block in blocks)
        return "\n\n".join(["\n".join(self._figures(what)), self.summary(what), *rest])

    def summary(self, what: str = "") -> str:
        """The counts of predictions and of the truth, and scikit-learn's report; as `text`."""
        return "\n\n".join([*self._distributions(what), self._report()])

    def _distributions(self, what: str) -> Iterator[str]:
        for name, axis in [("Prediction distribution", 0), ("Ground-truth distribution", 1)]:
            counts = self.confusion.sum(axis=axis)
            yield "\n".join([f"{name}{what}", *table(zip(self.classes, counts, strict=True))])

    def _report(self) -> str:
        from sklearn.metrics import classification_report

        found = np.unique([self.truth, self.predicted])
        report: str = classification_report(
            self.truth,
            self.predicted,
            labels=found,
            target_names=[printable(self.classes[place]) for place in found],
            zero_division=0,
        )
        return report.rstrip()

    def _figures(self, what: str) -> list[str]:
        rows = [
            ("accuracy", f"{self.accuracy:.4f}", _interval(self.intervals.accuracy)),
            ("macro-F1", f"{self.macro_f1:.4f}", _interval(self.intervals.macro_f1)),
        ]
        if self.confidence:
            rows += [(f"top-{k}", f"{v:.4f}", "") for k, v in self._top(self.confidence).items()][
                1:
            ]
            error = metrics.calibration(self.right, self.confidence.confidence).error
            rows.append(("calibration error", f"{error:.4f}", ""))
        return [f"Figures{what}, with 95 % intervals", *table(rows)]

    def _class_table(self) -> list[str]:
        rows: list[Sequence[object]] = [
            ("", "images", "predicted", "precision", "", "recall", "", "F1", "")
        ]
        there, given = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        for place, name in enumerate(self.classes):
            cells = [name, there[place], given[place]]
            for figure, ends in zip(self.scores, self.intervals[2:], strict=True):
                known = not np.isnan(figure[place])
                cells += [f"{figure[place]:.2f}" if known else "-", _interval(ends[:, place], 2)]
            rows.append(cells)
        return ["By class, with 95 % intervals", *table(rows)]

    def matrix(self, rows: str = "the true class", columns: str = "the predicted one") -> list[str]:
        """The confusion matrix, for a terminal."""
        count = len(self.classes)
        if count > _MATRIX:
            return [f"The confusion matrix of {count} classes is in the --json output."]
        lines: list[Sequence[object]] = [("", "", *range(1, count + 1))]
        for place, (name, line) in enumerate(zip(self.classes, self.confusion, strict=True)):
            lines.append((name, place + 1, *(cell or "." for cell in line)))
        return [f"Confusion matrix (a row: {rows}; a column: {columns})", *table(lines)]

    def pairs(self, words: str = "{} taken for {}") -> list[str]:
        """The most confused pairs, for a terminal; nothing where all is right."""
        rows = []
        for true, predicted, paths in self.confused():
            some = ", ".join(paths[:_PATHS]) + (", ..." if len(paths) > _PATHS else "")
            rows.append((words.format(true, predicted), len(paths), some))
        return table(rows, names=3)

    def _confidence_tables(self, sure: Confidence) -> Iterator[list[str]]:
        document = self._by_confidence(sure)
        rows: list[Sequence[object]] = [("confidence", "images", "mean", "right")]
        for of in document["calibration"]:
            if of["images"]:
                span = f"{of['from']:.0%} to {of['to']:.0%}"
                rows.append(
                    (span, of["images"], f"{of['confidence']:.1%}", f"{of['accuracy']:.1%}")
                )
        yield ["Calibration: how often it is right when it is so sure", *table(rows)]
        rows = [("left to people", "confidence below", "accuracy of the rest")]
        for of in self.kept:
            left = f"{1 - of['coverage']:.1%}"
            rows.append((left, f"{of['threshold']:.4f}", f"{of['accuracy']:.4f}"))
        yield [
            "Risk and coverage: if the least confident are left to people",
            *table(rows, names=0),
        ]


def side_by_side(evaluations: Iterable[tuple[str, Evaluation]]) -> list[str]:
    """A table, for a terminal, of evaluations by their names."""
    rows: list[tuple[object, ...]] = [("", "images", "accuracy", "", "macro-F1", "")]
    for name, one in evaluations:
        figures = (one.accuracy, one.intervals.accuracy), (one.macro_f1, one.intervals.macro_f1)
        cells = [cell for value, ends in figures for cell in (f"{value:.4f}", _interval(ends))]
        rows.append((name, f"{len(one.truth):,}", *cells))
    return table(rows)


def _known(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _interval(ends: npt.NDArray[np.float64], digits: int = 4) -> str:
    if np.isnan(ends).any():
        return ""
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"
