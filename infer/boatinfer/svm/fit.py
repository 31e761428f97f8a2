"""Fits an SVM on the features of a results folder: cross-validated, searched, calibrated."""

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

__all__ = [
    "Report",
    "Setting",
    "chosen",
    "cross_validated",
    "fit",
    "grid",
    "pipeline",
    "say_how_long",
]

Say = Callable[[str], None]

#: With more images, a linear SVM is a `LinearSVM`: libsvm's time grows with the square of their
#: number or faster.
EXACT = 10_000
#: With more numbers among the features, how long it will take is measured and said first.
_QUICK = 1_500_000
#: Images that are timed, at most.
_TIMED = 3000
#: Images on which the file's scores are compared with scikit-learn's, at most.
_COMPARED = 1000
#: What a search tries: penalties and, for RBF, multiples of 1 / D.
_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
_GAMMAS = (0.25, 1.0, 4.0)


class Setting(NamedTuple):
    """How an SVM is fitted.

    Attributes:
        kernel: which kernel.
        penalty: C of libsvm: a larger one fits the images closer.
        gamma: of the RBF kernel; None takes 1 / (D times the variance of the scaled features).
        balanced: whether every class counts the same, however many images it has.
    """

    kernel: Kernel
    penalty: float = 1.0
    gamma: float | None = None
    balanced: bool = False

    def __str__(self) -> str:
        gamma = f", gamma {self.gamma:.3g}" if self.gamma else ""
        return f"C {self.penalty:g}{gamma}"


class Scored(NamedTuple):
    """A setting's cross-validation.

    Attributes:
        setting: which.
        predicted: int64 [N], what the SVM that had not seen an image took it for.
        fit_seconds: mean of the folds.
        predict_seconds: of all images together.
    """

    setting: Setting
    predicted: Labels
    fit_seconds: float
    predict_seconds: float


class Report(msgspec.Struct, kw_only=True):
    """What is known of a fitted SVM; the file beside it holds this.

    ``folds`` is 0, and the scores are null, where nothing was cross-validated.
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


def fit(options: FitOptions, say: Say = lambda _: None) -> tuple[SVM, Report]:
    """Fits an SVM on the features of a results folder and saves it.

    Args:
        options: what to fit.
        say: is told, a sentence each, how long it will take and how far it is.

    Raises:
        UsageError: the folder holds no features, or no two classes.
        ModelError: the scores of the file differ from scikit-learn's.
        OutputError: the file could not be written.
    """
    results, beside = find_results(options.out), options.output.with_suffix(".report.json")
    for path in (options.output, beside):
        require_writable(path, force=options.force)
    known = labelled_features(results, options.labels, least=2)
    folds = _possible_folds(options, known)
    setting = Setting(options.kernel, options.penalty, balanced=options.class_weights == "balanced")
    settings = grid(setting, known.features.shape[1]) if options.search else [setting]
    fits = len(settings) * folds + 1 + (folds + 1) * options.probability
    say_how_long(setting, known, fits, say)
    scored = list(cross_validated(known, settings, folds, say)) if folds else []
    setting = chosen(known.truth, scored) if scored else setting
    started = time.perf_counter()
    fitted = pipeline(setting, len(known.truth)).fit(known.features, known.truth)
    seconds = time.perf_counter() - started
    sigmoids = _calibrated(setting, known, folds) if options.probability else None
    content = svms.pack(fitted, known.classes, known.run.model, known.features.shape[1], sigmoids)
    report = _report(options, setting, known, folds=folds, scored=scored, seconds=seconds)
    samples = known.features[:: 1 + len(known.truth) // _COMPARED]
    svm = svms.save(options.output, content, fitted, samples)
    with atomic_write(beside) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return svm, report


def pipeline(setting: Setting, images: int) -> Any:
    """A scikit-learn pipeline that scales features and classifies them, not yet fitted."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from boatinfer.svm.linear import LinearSVM

    weights = "balanced" if setting.balanced else None
    if setting.kernel == "linear" and images > EXACT:
        svm = LinearSVM(setting.penalty, weights)
    else:
        svm = SVC(
            kernel=setting.kernel,
            C=setting.penalty,
            gamma=setting.gamma or "scale",
            class_weight=weights,
            break_ties=True,  # as `best_class` does
        )
    return make_pipeline(StandardScaler(), svm)


def cross_validated(
    known: Labelled, settings: Sequence[Setting], folds: int, say: Say = lambda _: None
) -> Iterator[Scored]:
    """Cross-validates settings: each image is classified by an SVM that has not seen it.

    The folds are stratified and the same for every setting.

    Args:
        known: the images.
        settings: which to try.
        folds: how many, at least 2.
        say: is told each setting's scores.
    """
    import joblib
    from sklearn.model_selection import StratifiedKFold

    shuffled = StratifiedKFold(folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = list(shuffled.split(known.truth, known.truth))
    jobs = usable_cpus() if len(known.truth) <= EXACT else 1  # every job has a copy of its images
    work = (
        joblib.delayed(_fold)(setting, known, train, test)
        for setting in settings
        for train, test in splits
    )
    done = joblib.Parallel(jobs, prefer="threads", return_as="generator")(work)
    for number, setting in enumerate(settings, 1):
        predicted, seconds = np.empty_like(known.truth), []
        for _, test in splits:
            predicted[test], *times = next(done)
            seconds.append(times)
        means = np.mean(seconds, axis=0)
        scored = Scored(setting, predicted, float(means[0]), float(means[1]) * folds)
        if len(settings) > 1:
            accuracy, macro = _scores(known.truth, scored)
            say(
                f"{setting}: accuracy {accuracy:.4f}, macro-F1 {macro:.4f} in {folds}-fold "
                f"cross-validation ({number} of {len(settings)})"
            )
        yield scored


def chosen(truth: Labels, scored: Sequence[Scored]) -> Setting:
    """The most accurate setting, of equals the first; by macro-F1 where classes are balanced."""
    by = 1 if scored[0].setting.balanced else 0
    return max(scored, key=lambda one: _scores(truth, one)[by]).setting


def _fold(
    setting: Setting, known: Labelled, train: Labels, test: Labels
) -> tuple[Labels, float, float]:
    """Predictions of one fold, and the seconds that fitting and predicting took."""
    unfitted, features = pipeline(setting, len(train)), known.features[train]
    started = time.perf_counter()
    fitted = unfitted.fit(features, known.truth[train])
    middle = time.perf_counter()
    predicted = fitted.predict(known.features[test])
    return predicted, middle - started, time.perf_counter() - middle


def _scores(truth: Labels, scored: Scored) -> tuple[float, float]:
    return metrics.accuracy(truth, scored.predicted), metrics.macro_f1(truth, scored.predicted)


def grid(setting: Setting, dimension: int) -> list[Setting]:
    """The settings that a search tries, of one kernel, on features of this dimension."""
    gammas = [None] if setting.kernel == "linear" else [each / dimension for each in _GAMMAS]
    return [
        setting._replace(penalty=penalty, gamma=gamma) for penalty in _PENALTIES for gamma in gammas
    ]


def _possible_folds(options: FitOptions, known: Labelled) -> int:
    """The folds asked for, or fewer where the classes are small; 0 for no cross-validation."""
    counts = np.bincount(known.truth)
    rarest = known.classes[int(counts.argmin())]
    if options.probability and counts.min() < 2:
        raise UsageError(
            f"--probability needs two images or more of every class, and of {rarest!r} there is "
            "one; leave that class out."
        )
    folds = min(options.folds, int(counts.max()))
    if folds < 2 and (options.search or options.probability):
        raise UsageError("--search and --probability need --folds 2 or more, and as many images.")
    return folds if folds >= 2 else 0


def _calibrated(setting: Setting, known: Labelled, folds: int) -> npt.NDArray[np.float64]:
    """Slopes and offsets [2, K] of Platt's sigmoids, found on what an SVM has not seen."""
    from sklearn.calibration import CalibratedClassifierCV

    folds = min(folds, int(np.bincount(known.truth).min()))
    whole = CalibratedClassifierCV(
        pipeline(setting, len(known.truth)), method="sigmoid", cv=folds, ensemble=False
    ).fit(known.features, known.truth)
    found = np.array([[each.a_, each.b_] for each in whole.calibrated_classifiers_[0].calibrators])
    if len(found) == 1:  # two classes: that of the first mirrors that of the second
        found = np.array([[found[0, 0], -found[0, 1]], found[0]])
    return found.T.astype(np.float64)


def say_how_long(setting: Setting, known: Labelled, fits: int, say: Say) -> None:
    """Times a few images, and tells what all of them will take."""
    images, dimension = known.features.shape
    if known.features.size <= _QUICK:
        return
    most = min(images, _TIMED)
    sizes = [most // 4, most]
    times = []
    order = np.random.default_rng(0).permutation(images)
    for size in sizes:
        some = np.sort(order[:size])
        if len(np.unique(known.truth[some])) < 2:
            return
        started = time.perf_counter()
        pipeline(setting, images).fit(known.features[some], known.truth[some])
        times.append(time.perf_counter() - started)
    growth = np.log(times[1] / times[0]) / np.log(sizes[1] / sizes[0])
    seconds = times[1] * (images / sizes[1]) ** np.clip(growth, 1, 3)
    exact = setting.kernel == "rbf" or images <= EXACT
    jobs = min(fits, usable_cpus()) if images <= EXACT else 1
    memory = 4 * known.features.size * (1 + (4 if exact else 2) * jobs)
    faster = "; --kernel linear is faster" if setting.kernel == "rbf" and seconds > 600 else ""
    together = f", {fits} fits {_duration(seconds * fits / jobs)} in all" if fits > 1 else ""
    say(
        f"fitting {images:,} images of {dimension:,} features takes about {_duration(seconds)}"
        f"{together}, and {memory / 1e9:.1f} GB of memory{faster}"
    )


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.0f} h"


def _report(
    options: FitOptions,
    setting: Setting,
    known: Labelled,
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
        images=len(known.truth),
        dimension=known.features.shape[1],
        classes=dict(zip(known.classes, np.bincount(known.truth).tolist(), strict=True)),
        folds=folds,
        fit_seconds=round(seconds, 3),
    )
    for one in scored:
        accuracy, macro = _scores(known.truth, one)
        if one.setting == setting:
            right = np.array([int((one.predicted == known.truth).sum())])
            report.accuracy, report.macro_f1 = accuracy, macro
            ends = metrics.wilson(right, np.array([len(known.truth)]))
            report.accuracy_interval = ends[:, 0].tolist()
        if options.search:
            tried = {"penalty": one.setting.penalty, "gamma": one.setting.gamma}
            report.searched.append({**tried, "accuracy": accuracy, "macro_f1": macro})
    return report
