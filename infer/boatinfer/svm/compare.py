"""``boatinfer svm compare``: compares SVMs on features with each other and with the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boatinfer.analysis import metrics
from boatinfer.analysis.compare import speed
from boatinfer.errors import UsageError
from boatinfer.results.find import find_results
from boatinfer.storage.files import atomic_write, require_writable
from boatinfer.svm.fit import Setting, chosen, cross_validated, grid, pipeline
from boatinfer.svm.labelled import Labelled, labelled_features
from boatinfer.svm.options import SVMCompareOptions
from boatinfer.text import decimal, table

__all__ = ["Classifier", "Comparison", "compare", "draw"]

#: File endings of a chart.
_PICTURES = (".png", ".svg")
_WARNING = (
    "The features come from the network: if it was trained on these images, its own accuracy and "
    "that of the SVMs are too high; --test OUT of images it has not seen is a better estimate."
)


@dataclass(frozen=True)
class Classifier:
    """The metrics of one classifier.

    Attributes:
        name: display name.
        images: number of test images.
        correct: number of correct predictions.
        macro_f1: mean F1 over the classes.
        fit_seconds: None for a network, which is not fitted here.
        predict_seconds: of one image; a network's includes reading it, an SVM's begins with the
            features. None if unknown.
    """

    name: str
    images: int
    correct: int
    macro_f1: float
    fit_seconds: float | None
    predict_seconds: float | None

    @property
    def accuracy(self) -> float:
        """Share of the images that are classified correctly."""
        return self.correct / self.images

    @property
    def interval(self) -> list[float]:
        """The accuracy's 95 % interval."""
        interval = metrics.wilson(np.array([self.correct]), np.array([self.images]))[:, 0]
        return [float(end) for end in interval]


@dataclass(frozen=True)
class Comparison:
    """Classifiers on the same images.

    Attributes:
        rows: the classifiers.
        description: a sentence on the images and the method.
        warning: a sentence on the limits of the comparison; empty for none.
    """

    rows: Sequence[Classifier]
    description: str
    warning: str = ""

    def document(self) -> dict[str, Any]:
        """All metrics, for JSON."""
        rows = [
            {
                "name": row.name,
                "images": row.images,
                "right": row.correct,
                "macro_f1": row.macro_f1,
                "fit_seconds": row.fit_seconds,
                "predict_seconds": row.predict_seconds,
                "accuracy": row.accuracy,
                "accuracy_interval": row.interval,
            }
            for row in self.rows
        ]
        return {"classifiers": rows, "how": self.description, "caution": self.warning}

    def text(self) -> str:
        """All metrics, for a terminal."""
        lines: list[Sequence[object]] = [
            ("", "accuracy", "95 % interval", "macro-F1", "fit, s", "predict, ms an image")
        ]
        for row in self.rows:
            interval = " to ".join(map(decimal, row.interval))
            fit = "-" if row.fit_seconds is None else f"{row.fit_seconds:.2f}"
            predict = "-" if row.predict_seconds is None else f"{1000 * row.predict_seconds:.3f}"
            lines.append(
                (row.name, decimal(row.accuracy), interval, decimal(row.macro_f1), fit, predict)
            )
        return "\n".join(
            [self.description, *table(lines), *([self.warning] if self.warning else [])]
        )


def compare(
    options: SVMCompareOptions, on_progress: Callable[[str], None] = lambda _: None
) -> Comparison:
    """Fits a linear and an RBF SVM on features and tests them, and optionally the network.

    Args:
        options: the results folders and the settings.
        on_progress: called with progress messages.

    Raises:
        UsageError: a folder holds no features or labels, or the two are of different models.
        OutputError: the results are damaged, or the chart could not be written.
    """
    results = find_results(options.out)
    if options.output is not None:
        if options.output.suffix not in _PICTURES:
            raise UsageError(f"{options.output}: the ending must be one of {', '.join(_PICTURES)}.")
        require_writable(options.output, force=options.force)
    labelled = labelled_features(results, options.labels, min_classes=2)
    folds = min(options.folds, int(np.bincount(labelled.truth).max()))
    if folds < 2 and (options.search or options.test is None):
        raise UsageError(
            f"{options.out} holds one image of each class, too few to cross-validate; give test "
            "images with --test."
        )
    test_set = labelled if options.test is None else _test_images(options, labelled)
    settings = _settings(options, labelled, folds, on_progress)
    if options.test is None:
        rows = list(_cross_validated_classifiers(labelled, settings, folds))
        description = (
            f"{len(labelled.truth):,} images of {options.out}, {folds}-fold cross-validation"
        )
    else:
        rows = list(_tested_classifiers(labelled, test_set, settings))
        description = (
            f"fitted on {len(labelled.truth):,} images of {options.out}, tested on "
            f"{len(test_set.truth):,} of {options.test}"
        )
    if options.network:
        rows.insert(0, _network(test_set))
        description += (
            "; the network's time includes reading images, an SVM's neither that nor the network"
        )
    comparison = Comparison(rows, description, _WARNING if options.test is None else "")
    if options.output is not None:
        draw(comparison, options.output)
    return comparison


def _test_images(options: SVMCompareOptions, labelled: Labelled) -> Labelled:
    assert options.test is not None
    test_set = labelled_features(find_results(options.test), None)
    if test_set.run.model != labelled.run.model:
        models = " and ".join(
            f"{images.run.model_name} {images.run.model[:12]}" for images in (labelled, test_set)
        )
        raise UsageError(
            f"{options.out} and {options.test} were made by two models ({models}), whose features "
            "cannot be compared; run one of them with the other's model."
        )
    return test_set


def _settings(
    options: SVMCompareOptions, labelled: Labelled, folds: int, on_progress: Callable[[str], None]
) -> list[Setting]:
    plain = [Setting("linear"), Setting("rbf")]
    if not options.search:
        return plain
    dimension = labelled.features.shape[1]
    searches = (
        list(cross_validated(labelled, grid(setting, dimension), folds, on_progress))
        for setting in plain
    )
    return [chosen(labelled.truth, scored) for scored in searches]


def _name(setting: Setting) -> str:
    return f"{'RBF' if setting.kernel == 'rbf' else setting.kernel} SVM, {setting}"


def _cross_validated_classifiers(
    labelled: Labelled, settings: Sequence[Setting], folds: int
) -> Iterator[Classifier]:
    for result in cross_validated(labelled, settings, folds):
        predict = result.predict_seconds / len(labelled.truth)
        yield _scored(
            _name(result.setting), labelled.truth, result.predicted, result.fit_seconds, predict
        )


def _tested_classifiers(
    labelled: Labelled, test_set: Labelled, settings: Sequence[Setting]
) -> Iterator[Classifier]:
    truth, count = np.array(test_set.classes)[test_set.truth], len(test_set.truth)
    for setting in settings:
        unfitted = pipeline(setting, len(labelled.truth))  # which loads scikit-learn
        started = time.perf_counter()
        fitted = unfitted.fit(labelled.features, labelled.truth)
        fitted_at = time.perf_counter()
        predicted = np.array(labelled.classes)[fitted.predict(test_set.features)]
        predicted_at = time.perf_counter()
        yield _scored(
            _name(setting),
            truth,
            predicted,
            fitted_at - started,
            (predicted_at - fitted_at) / count,
        )


def _network(test_set: Labelled) -> Classifier:
    truth = np.array(test_set.classes)[test_set.truth]
    rate = speed(test_set.results, test_set.run)
    name = f"network ({test_set.run.model_name})"
    return _scored(name, truth, test_set.network_labels.astype(np.str_), None, rate and 1 / rate)


def _scored(
    name: str, truth: Any, predicted: Any, fit_seconds: float | None, predict_seconds: float | None
) -> Classifier:
    correct, f1 = int((truth == predicted).sum()), metrics.macro_f1(truth, predicted)
    return Classifier(name, len(truth), correct, f1, fit_seconds, predict_seconds)


def draw(comparison: Comparison, path: Path) -> None:
    """Draws a chart of accuracy, macro-F1 and the times, as PNG or SVG.

    Raises:
        OutputError: the chart could not be written.
    """
    from matplotlib.figure import Figure

    rows = comparison.rows[::-1]
    positions = np.arange(len(rows))
    figure = Figure(figsize=(12, 1.8 + 0.7 * len(rows)), layout="constrained")
    scores, fit, predict = figure.subplots(1, 3, sharey=True, width_ratios=[2, 1, 1])
    accuracy = np.array([row.accuracy for row in rows])
    error_bars = np.abs(np.array([row.interval for row in rows]).T - accuracy)
    bars = scores.barh(positions + 0.2, accuracy, 0.38, xerr=error_bars, capsize=3)
    scores.bar_label(bars, [f"{value:.3f}" for value in accuracy], label_type="center")
    macro_f1 = [row.macro_f1 for row in rows]
    bars = scores.barh(positions - 0.2, macro_f1, 0.38)
    scores.bar_label(bars, [f"{value:.3f}" for value in macro_f1], label_type="center")
    scores.set(yticks=positions, yticklabels=[row.name for row in rows], xlim=(0, 1))
    scores.set_xlabel("share of the images")
    scores.legend(
        ["accuracy, with 95 % interval", "macro-F1"],
        **{"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 2, "frameon": False},
    )
    _draw_times(fit, [row.fit_seconds for row in rows], "time to fit, s")
    milliseconds = [row.predict_seconds and 1000 * row.predict_seconds for row in rows]
    _draw_times(predict, milliseconds, "time to predict, ms an image")
    for axes in (scores, fit, predict):
        axes.grid(axis="x", alpha=0.3)
    figure.supxlabel(comparison.description, fontsize="small")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=120)


def _draw_times(axes: Any, values: Sequence[float | None], label: str) -> None:
    """Draws one bar a row, with its value; none where there is no value."""
    widths = [value or 0.0 for value in values]
    bars = axes.barh(np.arange(len(values)), widths, 0.5, color="tab:gray")
    axes.bar_label(bars, ["" if value is None else f"{value:.3g}" for value in values], padding=3)
    axes.set_xlim(0, 1.4 * max(widths, default=0) or 1)
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel(label)
