"""The evaluation of predictions, by image and by class, as text and as JSON."""

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
from boatinfer.text import decimal, printable, table

__all__ = ["Confidence", "Evaluation", "side_by_side"]

#: Top-k accuracy is computed for these k, if there are more classes.
_TOP = (1, 2, 3, 5)
#: Coverages in the table of risk and coverage.
_COVERAGES = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5)
#: Points of the risk-coverage curve in the JSON, at most.
_POINTS = 101
#: Number of pairs in the list of the most confused classes.
_PAIRS = 10
#: Paths listed for each pair in the text, and in the JSON.
_PATHS, _ALL_PATHS = 3, 100
#: With more classes the confusion matrix is only in the JSON: a row would not fit.
_MATRIX = 18
#: Characters of a class name in the table of classes.
_NAME_WIDTH = 23


@dataclass(frozen=True)
class Confidence:
    """The confidence of N predictions.

    Attributes:
        confidence: float32 [N], the probability of the predicted class.
        rank: int64 [N], the rank of the true class, 0 for the most probable class.
    """

    confidence: npt.NDArray[np.float32]
    rank: Labels

    @classmethod
    def from_probabilities(cls, probabilities: npt.NDArray[np.float32], truth: Labels) -> Self:
        """Computes them from probabilities float32 [N, C] and true classes int64 [N]."""
        return cls(probabilities.max(axis=1), metrics.ranks(probabilities, truth))


@dataclass(frozen=True)
class Evaluation:
    """Predictions of images whose true class is known; at least one.

    Attributes:
        classes: the C class names.
        paths: str [N], paths of the images.
        truth: int64 [N], class indices.
        predicted: int64 [N], class indices.
        confidence: the network's confidence; None for an SVM, whose scores are not probabilities.
    """

    classes: Sequence[str]
    paths: npt.NDArray[np.object_]
    truth: Labels
    predicted: Labels
    confidence: Confidence | None = None

    def select(self, mask: npt.NDArray[np.bool_]) -> Evaluation:
        """The evaluation of some of the images, by a mask, bool [N]."""
        confidence = self.confidence and Confidence(
            self.confidence.confidence[mask], self.confidence.rank[mask]
        )
        chosen = self.paths[mask], self.truth[mask], self.predicted[mask]
        return Evaluation(self.classes, *chosen, confidence)

    @cached_property
    def confusion(self) -> Labels:
        """Counts of images, int64 [C, C]: rows are true classes, columns predicted ones."""
        return metrics.confusion(self.truth, self.predicted, len(self.classes))

    @cached_property
    def intervals(self) -> Intervals:
        """95 % confidence intervals of all metrics."""
        return metrics.intervals(self.confusion)

    @cached_property
    def scores(self) -> ClassScores:
        """Precision, recall and F1 of each class."""
        return metrics.class_scores(self.confusion)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether each prediction is correct, bool [N]."""
        return np.asarray(self.truth == self.predicted)

    @property
    def accuracy(self) -> float:
        """Share of the images that are classified correctly."""
        return metrics.accuracy(self.truth, self.predicted)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur in the truth or among the predictions."""
        return metrics.macro_f1(self.truth, self.predicted)

    @property
    def weighted_f1(self) -> float:
        """Mean F1 over the classes, weighted by their numbers of images."""
        return float(np.average(np.nan_to_num(self.scores.f1), weights=self.confusion.sum(axis=1)))

    @property
    def absent(self) -> list[str]:
        """Classes without an image."""
        counts = self.confusion.sum(axis=1)
        return [name for name, count in zip(self.classes, counts, strict=True) if not count]

    @cached_property
    def risk_coverage(self) -> metrics.RiskCoverage:
        """Accuracy and coverage of the images at least as confident as each threshold.

        Raises:
            ValueError: the predictions are of an SVM, which has no confidence.
        """
        return metrics.risk_coverage(self.correct, self._required_confidence.confidence)

    @property
    def coverage_points(self) -> list[dict[str, float]]:
        """The points of the risk-coverage curve in the table."""
        return self.risk_coverage.points(_COVERAGES)

    def abstain_below(self, threshold: float) -> Threshold:
        """Counts of the images that are at least as confident as an abstention threshold."""
        kept = self._required_confidence.confidence >= threshold
        counts = int(kept.sum()), int(self.correct[kept].sum()), len(kept)
        return Threshold(threshold, None, *counts)

    @property
    def _required_confidence(self) -> Confidence:
        if self.confidence is None:
            raise ValueError("an SVM has no confidence")
        return self.confidence

    def confused(self) -> Iterator[tuple[str, str, list[str]]]:
        """The most confused pairs: true class, predicted class, and all such images."""
        errors = self.confusion - np.diag(self.confusion.diagonal())
        for index in np.argsort(-errors, axis=None, kind="stable")[:_PAIRS]:
            truth, predicted = divmod(int(index), len(self.classes))
            if not errors[truth, predicted]:
                return
            images = self.paths[(self.truth == truth) & (self.predicted == predicted)]
            yield self.classes[truth], self.classes[predicted], images.tolist()

    def document(self) -> dict[str, Any]:
        """All metrics, for JSON; undefined values are null."""
        return {
            "images": len(self.truth),
            **self.headline(),
            "classes": self._class_document(),
            "confusion": self.confusion.tolist(),
            "confused": self.pairs_document("truth", "predicted"),
            **(self._confidence_document(self.confidence) if self.confidence else {}),
        }

    def pairs_document(self, truth_key: str, predicted_key: str) -> list[dict[str, Any]]:
        """The most confused pairs, for JSON; the arguments are the keys of the two classes."""
        return [
            {
                truth_key: truth,
                predicted_key: predicted,
                "images": len(paths),
                "paths": paths[:_ALL_PATHS],
            }
            for truth, predicted, paths in self.confused()
        ]

    def headline(self) -> dict[str, Any]:
        """Accuracy and macro-F1 with their 95 % intervals."""
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": self.intervals.accuracy.tolist(),
            "macro_f1": self.macro_f1,
            "macro_f1_interval": self.intervals.macro_f1.tolist(),
            "weighted_f1": self.weighted_f1,
        }

    def _class_document(self) -> dict[str, dict[str, Any]]:
        columns: dict[str, list[Any]] = {}
        for name in ClassScores._fields:
            columns[name] = _nan_to_none(getattr(self.scores, name))
            ends = getattr(self.intervals, name).T
            columns[f"{name}_interval"] = [None if np.isnan(e).any() else e.tolist() for e in ends]
        columns["images"] = self.confusion.sum(axis=1).tolist()
        columns["predicted"] = self.confusion.sum(axis=0).tolist()
        rows = zip(*columns.values(), strict=True)
        return {
            name: dict(zip(columns, row, strict=True))
            for name, row in zip(self.classes, rows, strict=True)
        }

    def _confidence_document(self, confidence: Confidence) -> dict[str, Any]:
        bins = metrics.calibration(self.correct, confidence.confidence)
        edges = np.linspace(0, 1, len(bins.images) + 1)
        return {
            "top_k": self._top(confidence),
            "calibration_error": bins.error,
            "calibration": [
                {"from": low, "to": high, "images": count, "confidence": mean, "accuracy": share}
                for low, high, count, mean, share in zip(
                    edges[:-1].tolist(),
                    edges[1:].tolist(),
                    bins.images.tolist(),
                    _nan_to_none(bins.confidence),
                    _nan_to_none(bins.accuracy),
                    strict=True,
                )
            ],
            "risk_coverage": self.risk_coverage.points(np.linspace(0, 1, _POINTS)),
        }

    def _top(self, confidence: Confidence) -> dict[str, float]:
        ks = [k for k in _TOP if k < len(self.classes)]
        return {str(k): float(np.mean(confidence.rank < k)) for k in ks}

    def text(self, suffix: str = "") -> str:
        """All metrics, for a terminal of 80 columns.

        Args:
            suffix: added to the headings, such as " (SVM)".
        """
        blocks = [self._figures(suffix), self._class_table(suffix), self.matrix()]
        pairs = self.pairs()
        blocks += [["Most confused", *pairs]] if pairs else []
        blocks += self._confidence_tables(self.confidence) if self.confidence else []
        return "\n\n".join("\n".join(block) for block in blocks)

    def summary(self, suffix: str = "") -> str:
        """The metrics of the classes; arguments as `text`."""
        return "\n".join(self._class_table(suffix))

    def _figures(self, suffix: str) -> list[str]:
        rows = [
            ("accuracy", decimal(self.accuracy), _interval(self.intervals.accuracy)),
            ("macro-F1", decimal(self.macro_f1), _interval(self.intervals.macro_f1)),
        ]
        if self.confidence:
            rows += [(f"top-{k}", decimal(v), "") for k, v in self._top(self.confidence).items()][
                1:
            ]
            error = metrics.calibration(self.correct, self.confidence.confidence).error
            rows.append(("calibration error", decimal(error), ""))
        return [f"Figures{suffix}, with 95 % intervals", *table(rows)]

    def _class_table(self, suffix: str) -> list[str]:
        rows: list[Sequence[object]] = [
            ("", "", "images", "pred.", "precision", "recall", "F1", "95 %")
        ]
        true_counts, predicted_counts = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        for index, name in enumerate(self.classes):
            figures = ["-" if np.isnan(f[index]) else decimal(f[index]) for f in self.scores]
            interval = _interval(self.intervals.f1[:, index], 2, "-")
            counts = true_counts[index], predicted_counts[index]
            rows.append((index + 1, _shortened(name), *counts, *figures, interval))
        occurring = (true_counts + predicted_counts) > 0
        for name, weights in (("macro average", occurring), ("weighted average", true_counts)):
            means = [np.average(np.nan_to_num(f), weights=weights) for f in self.scores]
            rows.append(("", name, "", "", *(decimal(mean) for mean in means), ""))
        return [f"By class{suffix}, F1 with its 95 % interval", *table(rows, names=2)]

    def matrix(self, rows: str = "the true class", columns: str = "the predicted one") -> list[str]:
        """The confusion matrix, for a terminal."""
        count = len(self.classes)
        if count > _MATRIX:
            return [f"The confusion matrix of {count} classes is in the --json output."]
        lines: list[Sequence[object]] = [("", *range(1, count + 1))]
        for index, line in enumerate(self.confusion):
            lines.append((index + 1, *(cell or "." for cell in line)))
        return [f"Confusion matrix (rows: {rows}; columns: {columns})", *table(lines)]

    def pairs(self, words: str = "{} predicted as {}") -> list[str]:
        """The most confused pairs, for a terminal; empty if all predictions are correct."""
        lines = []
        for truth, predicted, paths in self.confused():
            pair = words.format(printable(truth), printable(predicted))
            more = ", such as" if len(paths) > _PATHS else ""
            lines.append(f"  {pair}: {len(paths):,}{more}")
            lines += [f"    {printable(path)}" for path in paths[:_PATHS]]
        return lines

    def _confidence_tables(self, confidence: Confidence) -> Iterator[list[str]]:
        document = self._confidence_document(confidence)
        rows: list[Sequence[object]] = [("confidence", "images", "mean", "accuracy")]
        for entry in document["calibration"]:
            if entry["images"]:
                span = f"{entry['from']:.0%} to {entry['to']:.0%}"
                rows.append(
                    (
                        span,
                        entry["images"],
                        f"{entry['confidence']:.1%}",
                        f"{entry['accuracy']:.1%}",
                    )
                )
        yield ["Calibration: accuracy by confidence", *table(rows)]
        rows = [("manual review", "confidence below", "accuracy of the rest")]
        for entry in self.coverage_points:
            abstained = f"{1 - entry['coverage']:.1%}"
            rows.append((abstained, f"{entry['threshold']:.4f}", decimal(entry["accuracy"])))
        yield [
            "Risk and coverage: with the least confident left for manual review",
            *table(rows, names=0),
        ]


def side_by_side(evaluations: Iterable[tuple[str, Evaluation]]) -> list[str]:
    """A table that compares evaluations, for a terminal."""
    rows: list[tuple[object, ...]] = [("", "images", "accuracy", "", "macro-F1", "")]
    for name, evaluation in evaluations:
        intervals = evaluation.intervals
        figures = (
            (evaluation.accuracy, intervals.accuracy),
            (evaluation.macro_f1, intervals.macro_f1),
        )
        cells = [cell for value, ends in figures for cell in (decimal(value), _interval(ends))]
        rows.append((name, f"{len(evaluation.truth):,}", *cells))
    return table(rows)


def _nan_to_none(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _interval(ends: npt.NDArray[np.float64], digits: int = 3, to: str = " to ") -> str:
    if np.isnan(ends).any():
        return ""
    return to.join(f"{end:.{digits}f}" for end in ends)


def _shortened(name: str) -> str:
    """A class name that fits its column."""
    name = printable(name)
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}\N{HORIZONTAL ELLIPSIS}"
