"""``boatinfer evaluate`` of a multi-label model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.multi_label import Bools, MultiLabelEvaluation
from boatinfer.analysis.options import EvaluateOptions
from boatinfer.dataset.label_tables import read_label_table
from boatinfer.errors import UsageError
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.store.rows import matrix
from boatinfer.results.summary import Summary
from boatinfer.results.tables.csv_files import read_csv
from boatinfer.results.tables.predictions import LABELS, SEPARATOR
from boatinfer.text import joined, printable

__all__ = ["MultiLabelResult", "evaluate_labels"]


@dataclass(frozen=True)
class MultiLabelResult:
    """The evaluation of the last run of a multi-label model.

    Attributes:
        run: the run.
        evaluation: of the images in the table of true labels.
        unlabelled: number of classified images that the table lacks.
    """

    run: Summary
    evaluation: MultiLabelEvaluation
    unlabelled: int

    def document(self) -> dict[str, Any]:
        """All figures, for JSON."""
        return {
            "folder": self.run.folder,
            "run": self.run.run,
            "model": self.run.model,
            "model_name": self.run.model_name,
            "unlabelled": self.unlabelled,
            "network": self.evaluation.document(),
        }

    def text(self) -> str:
        """All figures, for a terminal."""
        heading = (
            f"{self.run.model_name} on {printable(self.run.folder)}, images of known labels: "
            f"{len(self.evaluation.truth):,}"
        )
        left_out = f"Left out: {self.unlabelled:,} without labels." if self.unlabelled else ""
        return "\n\n".join(filter(None, [heading, self.evaluation.text(), left_out]))


def evaluate_labels(options: EvaluateOptions) -> MultiLabelResult | None:
    """Compares the last run's labels with the true ones.

    Args:
        options: the results folder; ``labels`` is a table whose column ``labels``, or ``label``,
            has all labels of an image, joined by ``;``.

    Returns:
        The evaluation; None if the model gives each image one label.

    Raises:
        UsageError: there are no results, or the table is missing or cannot be used.
        OutputError: the results are damaged.
    """
    results = find_results(options.out)
    run = results.last_complete()
    if run is None or not results.predictions.exists():
        return None  # the evaluation of single labels says why
    predictions = read_csv(results.predictions, ["path", "label"])
    if LABELS not in predictions.column_names:
        return None
    if options.labels is None or options.by or options.target_accuracy or options.foreign:
        raise UsageError(
            f"{results.out} is of a multi-label model: give its true labels with --labels FILE, a "
            f"CSV file whose column {LABELS} has all of them, joined by {SEPARATOR}; --by, "
            "--target-accuracy and --foreign are for one label per image."
        )
    truth = _true_labels(options, run)
    images = results.current().sort_by([("part", "ascending"), ("row", "ascending")])
    paths = images["path"].to_pylist()
    known = np.array([path in truth for path in paths], np.bool_)
    if not known.any():
        raise UsageError(
            f"{options.labels} labels none of the images in the results; its paths must be those "
            "of predictions.csv."
        )
    given = _predicted(predictions, paths)
    kept = [path for path in paths if path in truth]
    return MultiLabelResult(
        run,
        MultiLabelEvaluation(
            run.classes,
            _indicators([truth[path] for path in kept], run.classes),
            _indicators([given.get(path, "") for path in kept], run.classes),
            _probabilities(results, images)[known],
        ),
        int((~known).sum()),
    )


def _true_labels(options: EvaluateOptions, run: Summary) -> dict[str, str]:
    """True labels by path, joined."""
    assert options.labels is not None
    table = read_label_table(options.labels)
    prefix = run.folder.rstrip("/") + "/"
    column = table.columns.get(LABELS, table.labels)
    truth = {p.removeprefix(prefix): text for p, text in zip(table.paths, column, strict=True)}
    unknown = {name for text in truth.values() for name in _split(text)} - set(run.classes)
    if unknown:
        raise UsageError(
            f"{options.labels}: the model has no class {printable(joined(sorted(unknown), 5))}; "
            "correct the labels."
        )
    return truth


def _predicted(predictions: pa.Table, paths: list[str]) -> dict[str, str]:
    named = pc.replace_substring_regex(predictions["path"].cast(pa.string()), r"^\./", "")
    labels = predictions[LABELS].cast(pa.string()).fill_null("").to_pylist()
    return dict(zip(named.to_pylist(), labels, strict=True))


def _probabilities(results: Results, images: pa.Table) -> Any:
    parts = results.parts.read(images, ["probabilities"])
    return np.concatenate([matrix(part["probabilities"]) for part in parts])


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(SEPARATOR) if name.strip()]


def _indicators(texts: list[str], classes: list[str]) -> Bools:
    """Whether each image has each label, bool [N, C]."""
    rows = [set(_split(text)) for text in texts]
    return np.array([[name in row for name in classes] for row in rows], np.bool_)
