"""``boatinfer svm compare``: SVMs on features beside each other and beside the network."""

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
from boatinfer.text import table

__all__ = ["Classifier", "Compared", "compare", "draw"]

#: Endings of a picture.
_PICTURES = (".png", ".svg")
_CAUTION = (
    "The features come from the network: if it was trained on these images, its own accuracy and "
    "that of the SVMs are flattered; --test OUT of images it has not seen tells more."
)


@dataclass(frozen=True)
class Classifier:
    """One classifier's figures.

    Attributes:
        name: for people.
        images: how many it was tested on.
        right: how many of them it has right.
        macro_f1: mean F1 over the classes.
        fit_seconds: None for a network, which is not fitted here.
        predict_seconds: of one image; a network's includes reading it, an SVM's begins with the
            features. None where it is not known.
    """

    name: str
    images: int
    right: int
    macro_f1: float
    fit_seconds: float | None
    predict_seconds: float | None

    @property
    def accuracy(self) -> float:
        """Share of the images that it has right."""
        return self.right / self.images

    @property
    def interval(self) -> list[float]:
        """The accuracy's 95 % interval."""
        ends = metrics.wilson(np.array([self.right]), np.array([self.images]))[:, 0]
        return [float(end) for end in ends]


@dataclass(frozen=True)
class Compared:
    """Classifiers on the same images.

    Attributes:
        rows: the classifiers.
        how: a sentence that says on which images.
        caution: one that says what the figures are no proof of; empty for none.
    """

    rows: Sequence[Classifier]
    how: str
    caution: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        rows = [
            {**vars(row), "accuracy": row.accuracy, "accuracy_interval": row.interval}
            for row in self.rows
        ]
        return {"classifiers": rows, "how": self.how, "caution": self.caution}

    def text(self) -> str:
        """For a terminal."""
        lines: list[Sequence[object]] = [
            ("", "accuracy", "95 % interval", "macro-F1", "fit, s", "predict, ms an image")
        ]
        for row in self.rows:
            ends = "{:.4f} to {:.4f}".format(*row.interval)
            fit = "-" if row.fit_seconds is None else f"{row.fit_seconds:.2f}"
            predict = "-" if row.predict_seconds is None else f"{1000 * row.predict_seconds:.3f}"
            lines.append(
                (row.name, f"{row.accuracy:.4f}", ends, f"{row.macro_f1:.4f}", fit, predict)
            )
        return "\n".join([self.how, *table(lines), *([self.caution] if self.caution else [])])


def compare(options: SVMCompareOptions, say: Callable[[str], None] = lambda _: None) -> Compared:
    """Fits a linear and an RBF SVM on features and tests them, with the network if asked for.

    Raises:
        UsageError: a folder holds no features or labels, or the two are of different models.
        OutputError: the results are damaged, or the picture could not be written.
    """
    results = find_results(options.out)
    if options.output is not None:
        if options.output.suffix not in _PICTURES:
            raise UsageError(f"{options.output}: the ending must be one of {', '.join(_PICTURES)}.")
        require_writable(options.output, force=options.force)
    known = labelled_features(results, options.labels, least=2)
    folds = min(options.folds, int(np.bincount(known.truth).max()))
    if folds < 2 and (options.search or options.test is None):
        raise UsageError(
            f"{options.out} holds one image of each class, too few to cross-validate; give others "
            "with --test."
        )
    tested = known if options.test is None else _test_images(options, known)
    settings = _settings(options, known, folds, say)
    if options.test is None:
        rows = list(_by_folds(known, settings, folds))
        how = f"{len(known.truth):,} images of {options.out}, {folds}-fold cross-validation"
    else:
        rows = list(_by_test(known, tested, settings))
        how = (
            f"fitted on {len(known.truth):,} images of {options.out}, tested on "
            f"{len(tested.truth):,} of {options.test}"
        )
    if options.network:
        rows.insert(0, _network(tested))
        how += "; the network's time is that of its run, reading included, an SVM's without both"
    compared = Compared(rows, how, _CAUTION if options.test is None else "")
    if options.output is not None:
        draw(compared, options.output)
    return compared


def _test_images(options: SVMCompareOptions, known: Labelled) -> Labelled:
    assert options.test is not None
    tested = labelled_features(find_results(options.test), None)
    if tested.run.model != known.run.model:
        raise UsageError(
            f"{options.out} and {options.test} were made by two models ({known.run.model_name} "
            f"{known.run.model[:12]} and {tested.run.model_name} {tested.run.model[:12]}), whose "
            "features mean different things; run one of them with the other's model."
        )
    return tested


def _settings(
    options: SVMCompareOptions, known: Labelled, folds: int, say: Callable[[str], None]
) -> list[Setting]:
    plain = [Setting("linear"), Setting("rbf")]
    if not options.search:
        return plain
    dimension = known.features.shape[1]
    tried = (list(cross_validated(known, grid(one, dimension), folds, say)) for one in plain)
    return [chosen(known.truth, scored) for scored in tried]


def _name(setting: Setting) -> str:
    return f"{'RBF' if setting.kernel == 'rbf' else setting.kernel} SVM, {setting}"


def _by_folds(known: Labelled, settings: Sequence[Setting], folds: int) -> Iterator[Classifier]:
    for one in cross_validated(known, settings, folds):
        predict = one.predict_seconds / len(known.truth)
        yield _scored(_name(one.setting), known.truth, one.predicted, one.fit_seconds, predict)


def _by_test(
    known: Labelled, tested: Labelled, settings: Sequence[Setting]
) -> Iterator[Classifier]:
    truth, count = np.array(tested.classes)[tested.truth], len(tested.truth)
    for setting in settings:
        unfitted = pipeline(setting, len(known.truth))  # which loads scikit-learn
        started = time.perf_counter()
        fitted = unfitted.fit(known.features, known.truth)
        middle = time.perf_counter()
        predicted = np.array(known.classes)[fitted.predict(tested.features)]
        ended = time.perf_counter()
        yield _scored(_name(setting), truth, predicted, middle - started, (ended - middle) / count)


def _network(tested: Labelled) -> Classifier:
    truth = np.array(tested.classes)[tested.truth]
    rate = speed(tested.results, tested.run)
    name = f"network ({tested.run.model_name})"
    return _scored(name, truth, tested.network_labels.astype(np.str_), None, rate and 1 / rate)


def _scored(
    name: str, truth: Any, predicted: Any, fit_seconds: float | None, predict_seconds: float | None
) -> Classifier:
    right, f1 = int((truth == predicted).sum()), metrics.macro_f1(truth, predicted)
    return Classifier(name, len(truth), right, f1, fit_seconds, predict_seconds)


def draw(compared: Compared, path: Path) -> None:
    """Draws accuracy, macro-F1 and the times, as PNG or SVG.

    Raises:
        OutputError: the picture could not be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    rows = compared.rows[::-1]
    names, places = [row.name for row in rows], np.arange(len(rows))
    figure = Figure(figsize=(11, 1.6 + 0.7 * len(rows)), layout="constrained")
    scores, times = figure.subplots(1, 2, sharey=True)
    accuracy = np.array([row.accuracy for row in rows])
    ends = np.abs(np.array([row.interval for row in rows]).T - accuracy)
    scores.barh(places + 0.2, accuracy, 0.38, xerr=ends, capsize=3, label="accuracy, 95 % interval")
    scores.barh(places - 0.2, [row.macro_f1 for row in rows], 0.38, label="macro-F1")
    scores.set(yticks=places, yticklabels=names, xlim=(0, 1))
    unknown = float("nan")
    predict = [1000 * (row.predict_seconds or unknown) for row in rows]
    times.barh(places + 0.2, [row.fit_seconds or unknown for row in rows], 0.38, label="fit, s")
    times.barh(places - 0.2, predict, 0.38, label="predict, ms an image")
    known = [
        value for value in [*predict, *(row.fit_seconds or unknown for row in rows)] if value > 0
    ]
    least = np.floor(np.log10(min(known, default=1)) - 0.1)
    times.set(xscale="log", xlim=(10**least, None))
    times.xaxis.set_minor_formatter(NullFormatter())
    for axes in (scores, times):
        axes.grid(axis="x", alpha=0.3)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    figure.supxlabel(compared.how, fontsize="small")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=120)
