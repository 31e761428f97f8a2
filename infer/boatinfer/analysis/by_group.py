"""The figures of each group of images, such as each day, and their interval over groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boatinfer.analysis import metrics
from boatinfer.analysis.evaluation import Evaluation
from boatinfer.dataset.groups import group_names
from boatinfer.dataset.label_tables import column_names, read_label_table
from boatinfer.results.labels import is_label_file
from boatinfer.text import counted, decimal, printable, table

__all__ = ["ByGroup", "by_group"]

#: Groups in the table of the text; the JSON has all.
_LISTED = 40


@dataclass(frozen=True)
class ByGroup:
    """An evaluation, group by group.

    Attributes:
        by: what the groups are made by.
        groups: evaluation of the images of each group, by its name, sorted.
    """

    by: str
    groups: Mapping[str, Evaluation]

    def interval(self, metric: Callable[[Evaluation], float]) -> tuple[float, float, float] | None:
        """Mean of a metric over the groups, and the 95 % interval of that mean.

        Each group counts the same, however many images it has. The interval is that of
        Student's t for the mean of independent groups, within 0 and 1; with one group there is
        none. It says where the mean over very many such groups is; a further group may well be
        outside.
        """
        from scipy.stats import t

        values = np.array([metric(evaluation) for evaluation in self.groups.values()])
        if len(values) < 2:
            return None
        mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
        half = float(t.ppf(0.975, len(values) - 1)) * error
        return float(mean), float(max(0.0, mean - half)), float(min(1.0, mean + half))

    def document(self) -> dict[str, Any]:
        """All figures, for JSON."""
        return {
            "by": self.by,
            "groups": {
                name: {
                    "images": len(evaluation.truth),
                    "accuracy": evaluation.accuracy,
                    "macro_f1": evaluation.macro_f1,
                    "calibration_error": _calibration_error(evaluation),
                }
                for name, evaluation in self.groups.items()
            },
            **{
                name: dict(zip(("mean", "low", "high"), interval, strict=True))
                if (interval := self.interval(metric))
                else None
                for name, metric in _METRICS.items()
            },
        }

    def text(self) -> str:
        """A table for a terminal."""
        rows: list[Sequence[object]] = [("", "images", "accuracy", "macro-F1", "calib. error")]
        for name, evaluation in list(self.groups.items())[:_LISTED]:
            error = _calibration_error(evaluation)
            rows.append(
                (
                    printable(name),
                    len(evaluation.truth),
                    decimal(evaluation.accuracy),
                    decimal(evaluation.macro_f1),
                    "" if error is None else decimal(error),
                )
            )
        lines = [f"By {self.by}", *table(rows)]
        if len(self.groups) > _LISTED:
            lines.append(f"  and {len(self.groups) - _LISTED:,} more; --json has all")
        for name, metric in _METRICS.items():
            if interval := self.interval(metric):
                mean, low, high = map(decimal, interval)
                lines.append(
                    f"Mean {name.replace('_', '-').replace('f1', 'F1')} of "
                    f"{counted(len(self.groups), 'group')}: {mean}, 95 % interval over groups "
                    f"{low} to {high}."
                )
        if len(self.groups) == 1:
            lines.append("There is one group only, so there is no interval over groups.")
        return "\n".join(lines)


_METRICS: dict[str, Callable[[Evaluation], float]] = {
    "accuracy": lambda evaluation: evaluation.accuracy,
    "macro_f1": lambda evaluation: evaluation.macro_f1,
}


def _calibration_error(evaluation: Evaluation) -> float | None:
    if evaluation.confidence is None:
        return None
    return metrics.calibration(evaluation.correct, evaluation.confidence.confidence).error


def by_group(evaluation: Evaluation, by: str, labels: Path | None, folder: str) -> ByGroup:
    """Splits an evaluation by groups.

    Args:
        evaluation: of all images.
        by: see `boatinfer.dataset.groups.group_names`.
        labels: the table of true classes, which may have a column ``by``.
        folder: the scanned folder, absolute, which its paths may begin with.

    Raises:
        UsageError: an image has no group.
    """
    paths = [str(path) for path in evaluation.paths]
    truth = [evaluation.classes[label] for label in evaluation.truth.tolist()]
    columns = _columns(labels, by, paths, folder)
    groups = np.array(group_names(by, paths, truth, columns, "--by"), object)
    return ByGroup(
        by, {name: evaluation.select(groups == name) for name in sorted(set(groups.tolist()))}
    )


def _columns(
    labels: Path | None, by: str, paths: Sequence[str], folder: str
) -> dict[str, list[str]]:
    """The column of the groups, in the order of the images; nothing if there is no such column."""
    if labels is None or is_label_file(labels) or by not in column_names(labels):
        return {}
    known = read_label_table(labels)
    prefix = folder.rstrip("/") + "/"
    names = (path.removeprefix(prefix) for path in known.paths)
    groups = dict(zip(names, known.columns[by], strict=True))
    return {by: [groups.get(path, "") for path in paths]}
