"""Finds labelled images whose label is hard to believe.

The class probabilities of each image come from a linear model on the features of a network,
fitted to the other images (cross-validation). An image is the more suspect, the less probable
its label is beside the likeliest class.
"""

from __future__ import annotations

import csv
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boatinfer import images
from boatinfer.dataset.class_folders import LabelledFiles
from boatinfer.dataset.labelled_images import read_collection
from boatinfer.dataset.near_duplicates import near_duplicates, read_thumbnails
from boatinfer.errors import ImageError, UsageError
from boatinfer.models.built_in import model_place
from boatinfer.models.model import Model, open_model
from boatinfer.progress import progress_bar
from boatinfer.storage.files import atomic_write, require_writable
from boattrain.data.options import AuditOptions

__all__ = ["AuditResult", "Suspect", "audit", "suspicion"]

_log = logging.getLogger(__name__)

_COLUMNS = ("path", "content", "label", "suggested", "label_probability", "reason", "like")
#: Images read at once.
_CHUNK = 64
#: Strength of the linear model: inverse of the weight of the penalty, as in scikit-learn.
_C = 0.01
#: Robust standard deviations from which an image is an outlier of its class.
_OUTLIER = 6.0
#: Keeps logarithms finite.
_TINY = 1e-9
#: Images of a class below which it has no outliers.
_MIN_CLASS = 8


class Suspect(NamedTuple):
    """An image whose label is hard to believe.

    Attributes:
        path: path below DATA, or absolute.
        content: xxh3-128 of the content, in hex.
        label: its label.
        suggested: the class that is likeliest instead; for near duplicates the other label.
        probability: probability of the label, by the other images.
        reason: ``label``, ``near_duplicate`` or ``outlier``.
        like: a near duplicate with another label, if that is the reason.
    """

    path: str
    content: str
    label: str
    suggested: str
    probability: float
    reason: str
    like: str = ""


class AuditResult(NamedTuple):
    """The result of an audit.

    Attributes:
        images: number of images that could be read.
        disagreeing: number of those whose likeliest class is another one.
        suspects: the most suspect images, the worst first.
    """

    images: int
    disagreeing: int
    suspects: list[Suspect]


def audit(options: AuditOptions) -> AuditResult:
    """Ranks labelled images by how hard their labels are to believe, and writes them to a table.

    First come near duplicates with different labels, one of which must be wrong, then labels that
    the other images speak against and outliers of their class, in the order of `suspicion`.

    Raises:
        UsageError: the data, the model or the output cannot be used.
        OutputError: the table or page could not be written.
    """
    require_writable(options.output, force=options.force)
    if options.page is not None:
        require_writable(options.page, force=options.force)
    files = read_collection(options.data, options.table).files
    model = open_model(model_place(options.model))
    features, files = _features(model, files)
    labels, names = np.array(files.labels), files.names
    if (np.bincount(labels) > 1).sum() < 2:
        raise UsageError(
            f"{files.folder} has not two classes with two readable images each, which it takes to "
            "judge a label; add images."
        )
    vectors, digests = read_thumbnails(files.paths)
    probabilities = cross_validated(features, labels, len(files.classes), options.folds)
    likeliest = probabilities.argmax(axis=1)
    contradictory = _contradictory(near_duplicates(vectors, digests), labels)
    outliers = _outliers(features, labels)
    order = np.argsort(-suspicion(probabilities, labels), kind="stable").tolist()
    suspects = []
    for row in [*contradictory, *(row for row in order if row not in contradictory)]:
        suggested, reason, like = int(likeliest[row]), "label", ""
        if row in contradictory:
            other = contradictory[row]
            suggested, reason, like = int(labels[other]), "near_duplicate", names[other]
        elif suggested == labels[row]:
            if not outliers[row]:
                continue
            reason = "outlier"
        label, probability = int(labels[row]), float(probabilities[row, labels[row]])
        classes = files.classes[label], files.classes[suggested]
        suspects.append(Suspect(names[row], digests[row], *classes, probability, reason, like))
    disagreeing = int((likeliest != labels).sum())
    result = AuditResult(len(labels), disagreeing, suspects[: options.most])
    _write(options.output, result.suspects)
    if options.page is not None:
        _write_page(options.page, options, result)
    return result


def _features(model: Model, files: LabelledFiles) -> tuple[npt.NDArray[np.float32], LabelledFiles]:
    """The features of the readable images, float32 [N, D], and these images."""
    features: list[npt.NDArray[np.float32]] = []
    is_readable: list[bool] = []
    with (
        images.IsolatedReader(images.PixelReader(model.card.image)) as reader,
        progress_bar("computing features", len(files.paths), "files") as advance,
    ):
        for start in range(0, len(files.paths), _CHUNK):
            paths = files.paths[start : start + _CHUNK]
            results = reader.map(paths)
            for path, result in zip(paths, results, strict=True):
                if isinstance(result, ImageError):
                    _log.warning("left out %s: %s: %s", path, result.reason, result)
            is_readable += [not isinstance(result, ImageError) for result in results]
            pixels = [result for result in results if not isinstance(result, ImageError)]
            if pixels:
                features.append(_vectors(model, np.stack(pixels)))
            advance(len(paths))
    if not features:
        raise UsageError(f"no image of {files.folder} can be read.")
    return np.concatenate(features), files.select(is_readable)


def _vectors(model: Model, pixels: images.Pixels) -> npt.NDArray[np.float32]:
    vectors = model.infer(pixels).features
    if vectors is None:
        raise UsageError(f"--model {model.path} has no features; give a model that has.")
    return vectors


def cross_validated(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], classes: int, folds: int
) -> npt.NDArray[np.float64]:
    """Class probabilities of each image by a linear model fitted to the other folds.

    Args:
        features: float32 [N, D].
        labels: int64 [N].
        classes: number of classes C.
        folds: number of folds. An image that is the only one of its class is in none of them, and
            is judged by a model of all others.

    Returns:
        float64 [N, C].
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    probabilities = np.zeros((len(labels), classes))
    counts = np.bincount(labels)
    single = counts[labels] == 1
    rows, singles = np.flatnonzero(~single), np.flatnonzero(single)
    splitter = StratifiedKFold(min(folds, int(counts.max())), shuffle=True, random_state=0)
    with (
        warnings.catch_warnings(),
        threadpool_limits(1),  # many threads on small matrices only wait for each other
        progress_bar("cross-validating", splitter.n_splits, "folds") as advance,
    ):
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        pairs = [(rows[t], rows[r]) for t, r in splitter.split(features[rows], labels[rows])]
        for train, rest in [*pairs, *([(rows, singles)] if len(singles) else [])]:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=_C, max_iter=300))
            model.fit(features[train], labels[train])
            probabilities[np.ix_(rest, model.classes_)] = model.predict_proba(features[rest])
            advance(1)
    return probabilities


def suspicion(
    probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """How suspect each label is: the log of how much likelier the likeliest other class is.

    On boats with 2 % of the labels planted wrong, 4 % of this order held all of them; the
    difference of the two probabilities (normalized margin) missed up to a fifth, and cleanlab's
    adjusted scores two fifths, as they favour the labels of rare classes.
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = 0
    return np.asarray(np.log(others.max(axis=1) + _TINY) - np.log(own + _TINY))


def _contradictory(groups: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> dict[int, int]:
    """Images with near duplicates of another label, and one of these for each."""
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        members[group].append(row)
    return {
        row: next(other for other in rows if labels[other] != labels[row])
        for rows in members.values()
        if len({int(labels[row]) for row in rows}) > 1
        for row in rows
    }


def _outliers(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Images that are far from the median of their class, by its median absolute deviation."""
    found = np.zeros(len(labels), bool)
    scale = features.std(axis=0) + 1e-6
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < _MIN_CLASS:
            continue
        points = features[rows] / scale
        distances = np.linalg.norm(points - np.median(points, axis=0), axis=1)
        centre = np.median(distances)
        spread = 1.4826 * np.median(np.abs(distances - centre))
        found[rows] = distances > centre + _OUTLIER * spread
    return found


def _write(file: Path, suspects: Sequence[Suspect]) -> None:
    with atomic_write(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as to:
        writer = csv.writer(to)
        writer.writerow(_COLUMNS)
        for suspect in suspects:
            writer.writerow(_cells(suspect))


def _cells(suspect: Suspect) -> Iterator[str]:
    """The cells of a row, which no spreadsheet takes for formulas."""
    for name, value in zip(_COLUMNS, map(str, suspect), strict=True):
        prefix = "./" if name in {"path", "like"} else "'"
        is_formula = value[:1] in {"=", "+", "-", "@", "\t", "\r"}
        if name == "label_probability":
            yield f"{suspect.probability:.6f}"
        else:
            yield prefix + value if is_formula else value


def _write_page(file: Path, options: AuditOptions, result: AuditResult) -> None:
    from boatinfer.i18n import language_of, resolved
    from boatinfer.pages import page
    from boatinfer.pages.thumbnails import Album
    from boatinfer.text import to_text

    rows = [
        {"path": s.path, "label": s.label, "suggested": s.suggested, "reason": s.reason}
        for s in result.suspects
    ]
    pictures = Album(to_text(str(options.data.resolve()))).pictures(rows)
    language = language_of(resolved(options.language))
    values = {"result": result, "pictures": pictures, "data": str(options.data)}
    page.write(file, "audit.html", language, **values)
