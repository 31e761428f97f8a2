"""Fits an SVM on the features of a results folder, with cross-validation and calibration."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from boatinfer.analysis import metrics
from boatinfer.analysis.metrics import Labels
from boatinfer.cpus import usable_cpus
from boatinfer.errors import UsageError
from boatinfer.models import svm as svms
from boatinfer.models.kernel import Kernel
from boatinfer.models.svm import SVM
from boatinfer.results.find import find_results
from boatinfer.storage.files import atomic_write, require_writable
from boatinfer.svm.labelled import Labelled, labelled_features
from boatinfer.svm.options import FitOptions
from boatinfer.text import decimal, duration

__all__ = [
    "Report",
    "Setting",
    "chosen",
    "cross_validated",
    "fit",
    "grid",
    "pipeline",
    "report_estimated_time",
]

ProgressCallback = Callable[[str], None]

#: With more images, a linear SVM is a `LinearSVM`: libsvm's time grows with the square of their
#: number or faster.
EXACT = 10_000
#: With more elements in the feature matrix, the time is estimated first.
_QUICK = 1_500_000
#: Number of images of the estimate, at most.
_TIMED = 3000
#: Number of images on which the file's scores are compared with scikit-learn's, at most.
_COMPARED = 1000
#: Search grid: penalties and, for RBF, gammas as multiples of 1 / D.
_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
_GAMMAS = (0.25, 1.0, 4.0)


class Setting(NamedTuple):
    """Hyperparameters of an SVM.

    Attributes:
        kernel: the kernel.
        penalty: C of libsvm; a larger one fits the training images more closely.
        gamma: of the RBF kernel; None means 1 / (D times the variance of the scaled features).
        balanced: whether classes are weighted equally, whatever their numbers of images.
    """

    kernel: Kernel
    penalty: float = 1.0
    gamma: float | None = None
    balanced: bool = False

    def __str__(self) -> str:
        gamma = f", gamma {self.gamma:.3g}" if self.gamma else ""
        return f"C {self.penalty:g}{gamma}"


class Scored(NamedTuple):
    """The cross-validation of a setting.

    Attributes:
        setting: the setting.
        predicted: int64 [N], predictions for the held-out images.
        fit_seconds: mean over the folds.
        predict_seconds: for all images together.
    """

    setting: Setting
    predicted: Labels
    fit_seconds: float
    predict_seconds: float


class Report(msgspec.Struct, kw_only=True):
    """The report on a fitted SVM, which is written next to its file.

    ``folds`` is 0, and the scores are null, without cross-validation.
    """

    kernel: str
    penalty: float
    gamma: float | None
    class_weights: str
    probability: bool
    images: int
    dimension: int
    classes: dict[str, int]
    folds: int
    accuracy: float | None = None
    accuracy_interval: list[float] | None = None
    macro_f1: float | None = None
    searched: list[dict[str, float | None]] = []
    fit_seconds: float


def fit(options: FitOptions, on_progress: ProgressCallback = lambda _: None) -> tuple[SVM, Report]:
    """Fits an SVM on the features of a results folder and saves it.

    Args:
        options: the results folder and the settings.
        on_progress: called with progress messages.

    Raises:
        UsageError: the folder holds no features, or fewer than two classes.
        ModelError: the scores of the file differ from scikit-learn's.
        OutputError: the file could not be written.
    """
    results, report_file = find_results(options.out), options.output.with_suffix(".report.json")
    for path in (options.output, report_file):
        require_writable(path, force=options.force)
    labelled = labelled_features(results, options.labels, min_classes=2)
    folds = _possible_folds(options, labelled)
    setting = Setting(options.kernel, options.penalty, balanced=options.class_weights == "balanced")
    settings = grid(setting, labelled.features.shape[1]) if options.search else [setting]
    fits = len(settings) * folds + 1 + (folds + 1) * options.probability
    report_estimated_time(setting, labelled, fits, on_progress)
    scored = list(cross_validated(labelled, settings, folds, on_progress)) if folds else []
    setting = chosen(labelled.truth, scored) if scored else setting
    started = time.perf_counter()
    fitted = pipeline(setting, len(labelled.truth)).fit(labelled.features, labelled.truth)
    seconds = time.perf_counter() - started
    sigmoids = _calibrated(setting, labelled, folds) if options.probability else None
    content = svms.pack(
        fitted, labelled.classes, labelled.run.model, labelled.features.shape[1], sigmoids
    )
    report = _report(options, setting, labelled, folds=folds, scored=scored, seconds=seconds)
    samples = labelled.features[:: 1 + len(labelled.truth) // _COMPARED]
    svm = svms.save(options.output, content, fitted, samples)
    with atomic_write(report_file) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return svm, report


def pipeline(setting: Setting, images: int) -> Any:
    """An unfitted scikit-learn pipeline that scales features and classifies them."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from boatinfer.svm.linear import LinearSVM

    class_weight = "balanced" if setting.balanced else None
    if setting.kernel == "linear" and images > EXACT:
        svm = LinearSVM(setting.penalty, class_weight)
    else:
        svm = SVC(
            kernel=setting.kernel,
            C=setting.penalty,
            gamma=setting.gamma or "scale",
            class_weight=class_weight,
            break_ties=True,  # as `best_class` does
        )
    return make_pipeline(StandardScaler(), svm)


def cross_validated(
    labelled: Labelled,
    settings: Sequence[Setting],
    folds: int,
    on_progress: ProgressCallback = lambda _: None,
) -> Iterator[Scored]:
    """Cross-validates settings; the folds are stratified and the same for every setting.

    Args:
        labelled: the images.
        settings: the settings to try.
        folds: number of folds, at least 2.
        on_progress: called with the scores of each setting.
    """
    import joblib
    from sklearn.model_selection import StratifiedKFold

    shuffled = StratifiedKFold(folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(shuffled.split(labelled.truth, labelled.truth))
    jobs = (
        usable_cpus() if len(labelled.truth) <= EXACT else 1
    )  # every job has a copy of its images
    work = (
        joblib.delayed(_fold)(setting, labelled, train, test)
        for setting in settings
        for train, test in splits
    )
    results = joblib.Parallel(jobs, prefer="threads", return_as="generator")(work)
    for number, setting in enumerate(settings, 1):
        predicted, seconds = np.empty_like(labelled.truth), []
        for _, test in splits:
            predicted[test], *times = next(results)
            seconds.append(times)
        means = np.mean(seconds, axis=0)
        scored = Scored(setting, predicted, float(means[0]), float(means[1]) * folds)
        if len(settings) > 1:
            accuracy, macro = _scores(labelled.truth, scored)
            on_progress(
                f"{setting}: accuracy {decimal(accuracy)}, macro-F1 {decimal(macro)} "
                f"in {folds}-fold cross-validation ({number} of {len(settings)})"
            )
        yield scored


def chosen(truth: Labels, scored: Sequence[Scored]) -> Setting:
    """The first setting with the highest accuracy, or macro-F1 if classes are balanced."""
    metric = 1 if scored[0].setting.balanced else 0
    return max(scored, key=lambda result: _scores(truth, result)[metric]).setting


def _fold(
    setting: Setting, labelled: Labelled, train: Labels, test: Labels
) -> tuple[Labels, float, float]:
    """Predictions of one fold, and the seconds that fitting and predicting took."""
    unfitted, features = pipeline(setting, len(train)), labelled.features[train]
    started = time.perf_counter()
    fitted = unfitted.fit(features, labelled.truth[train])
    fitted_at = time.perf_counter()
    predicted = fitted.predict(labelled.features[test])
    return predicted, fitted_at - started, time.perf_counter() - fitted_at


def _scores(truth: Labels, scored: Scored) -> tuple[float, float]:
    return metrics.accuracy(truth, scored.predicted), metrics.macro_f1(truth, scored.predicted)


def grid(setting: Setting, dimension: int) -> list[Setting]:
    """The settings that a search tries, of one kernel, on features of this dimension."""
    gammas = [None] if setting.kernel == "linear" else [factor / dimension for factor in _GAMMAS]
    return [
        setting._replace(penalty=penalty, gamma=gamma) for penalty in _PENALTIES for gamma in gammas
    ]


def _possible_folds(options: FitOptions, labelled: Labelled) -> int:
    """The folds asked for, or fewer where the classes are small; 0 for no cross-validation."""
    counts = np.bincount(labelled.truth)
    rarest = labelled.classes[int(counts.argmin())]
    if options.probability and counts.min() < 2:
        raise UsageError(
            f"--probability needs two images or more of every class, and of {rarest!r} there is "
            "one; leave that class out."
        )
    folds = min(options.folds, int(counts.max()))
    if folds < 2 and (options.search or options.probability):
        raise UsageError("--search and --probability need --folds 2 or more, and as many images.")
    return folds if folds >= 2 else 0


def _calibrated(setting: Setting, labelled: Labelled, folds: int) -> npt.NDArray[np.float64]:
    """Slopes and offsets [2, K] of Platt's sigmoids, fitted on held-out images."""
    from sklearn.calibration import CalibratedClassifierCV

    folds = min(folds, int(np.bincount(labelled.truth).min()))
    classifier = CalibratedClassifierCV(
        pipeline(setting, len(labelled.truth)), method="sigmoid", cv=folds, ensemble=False
    ).fit(labelled.features, labelled.truth)
    calibrators = classifier.calibrated_classifiers_[0].calibrators
    sigmoids = np.array([[calibrator.a_, calibrator.b_] for calibrator in calibrators])
    if len(sigmoids) == 1:  # two classes: the sigmoid of the first mirrors that of the second
        sigmoids = np.array([[sigmoids[0, 0], -sigmoids[0, 1]], sigmoids[0]])
    return sigmoids.T.astype(np.float64)


def report_estimated_time(
    setting: Setting, labelled: Labelled, fits: int, on_progress: ProgressCallback
) -> None:
    """Estimates the time and memory for all images from a few, and reports it."""
    images, dimension = labelled.features.shape
    if labelled.features.size <= _QUICK:
        return
    largest = min(images, _TIMED)
    sizes = [largest // 4, largest]
    times = []
    order = np.random.default_rng(0).permutation(images)
    for size in sizes:
        subset = np.sort(order[:size])
        if len(np.unique(labelled.truth[subset])) < 2:
            return
        started = time.perf_counter()
        pipeline(setting, images).fit(labelled.features[subset], labelled.truth[subset])
        times.append(time.perf_counter() - started)
    growth = np.log(times[1] / times[0]) / np.log(sizes[1] / sizes[0])
    seconds = times[1] * (images / sizes[1]) ** np.clip(growth, 1, 3)
    uses_libsvm = setting.kernel == "rbf" or images <= EXACT
    jobs = min(fits, usable_cpus()) if images <= EXACT else 1
    memory = 4 * labelled.features.size * (1 + (4 if uses_libsvm else 2) * jobs)
    hint = "; --kernel linear is faster" if setting.kernel == "rbf" and seconds > 600 else ""
    total_text = (
        f", {fits} fits {duration(max(1, seconds * fits / jobs), tenths=False)} in all"
        if fits > 1
        else ""
    )
    on_progress(
        f"fitting {images:,} images of {dimension:,} features takes about "
        f"{duration(max(1, seconds), tenths=False)}{total_text}, and "
        f"{memory / 1e9:.1f} GB of memory{hint}"
    )


def _report(
    options: FitOptions,
    setting: Setting,
    labelled: Labelled,
    *,
    folds: int,
    scored: Sequence[Scored],
    seconds: float,
) -> Report:
    report = Report(
        kernel=setting.kernel,
        penalty=setting.penalty,
        gamma=setting.gamma,
        class_weights=options.class_weights,
        probability=options.probability,
        images=len(labelled.truth),
        dimension=labelled.features.shape[1],
        classes=dict(zip(labelled.classes, np.bincount(labelled.truth).tolist(), strict=True)),
        folds=folds,
        fit_seconds=round(seconds, 3),
    )
    for result in scored:
        accuracy, macro = _scores(labelled.truth, result)
        if result.setting == setting:
            correct = np.array([int((result.predicted == labelled.truth).sum())])
            report.accuracy, report.macro_f1 = accuracy, macro
            interval = metrics.wilson(correct, np.array([len(labelled.truth)]))
            report.accuracy_interval = interval[:, 0].tolist()
        if options.search:
            parameters = {"penalty": result.setting.penalty, "gamma": result.setting.gamma}
            report.searched.append({**parameters, "accuracy": accuracy, "macro_f1": macro})
    return report
