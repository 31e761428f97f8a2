"""A support vector machine on the features of a results folder, saved with joblib.

The file is one dict: the scikit-learn pipeline, its classes, the model and dimension that
its features come from, the sigmoids that make probabilities of its scores, and the versions.
A joblib file is a pickle, and a pickle can run code, and make objects of which compiled code
trusts what it must not. So `load` reads it as data (`boatinfer.models.pickles`), takes the few
arrays that the scores need, checks them, and computes in numpy: neither scikit-learn nor joblib
is loaded. The file ends in a seal (`boatinfer.models.seal`), which joblib itself does not look at.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from boatinfer.errors import ModelError, UsageError
from boatinfer.models import pickles
from boatinfer.models.decision import Doubles, Linear, Pairwise, probabilities
from boatinfer.models.inference import Floats
from boatinfer.models.pickles import Record, RefusedError
from boatinfer.models.seal import PICKLE, is_sealed, seal, sealed_digest
from boatinfer.storage.files import atomic_write

if TYPE_CHECKING:
    from boatinfer.models.model import ModelInfo

__all__ = ["SVM", "best", "load", "load_for", "packed", "read", "save"]

Score = TypeVar("Score", bound=np.generic)

FORMAT = 2
_KEYS = {"format", "pipeline", "classes", "model", "dimension", "sigmoids", "versions"}
_PIPELINE, _SCALER = "sklearn.pipeline.Pipeline", "sklearn.preprocessing._data.StandardScaler"
_SVC, _LINEAR = "sklearn.svm._classes.SVC", "boatinfer.svm.linear.LinearSVM"

#: No number may be larger, and no scale smaller than one over it: then no score overflows.
_LARGEST = 1e30
_SINGLE = np.finfo(np.float32).max

#: How far scores may be from scikit-learn's when a file is written, as a share of the largest.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class SVM:
    """A fitted SVM and what its features must come from.

    Attributes:
        mean: float64 [D], taken from the features before anything else.
        scale: float64 [D], by which they are then divided; both are rounded to float32, as
            scikit-learn's scaler does.
        function: gives the scores of scaled features.
        classes: class names, sorted.
        model: SHA-256 of the ONNX file that the features come from, hex.
        dimension: D, the length of a feature vector.
        sigmoids: float64 [2, K], see `boatinfer.models.decision.probabilities`; None where scores
            are no probabilities.
        digest: SHA-256 of the file that it was read from, hex.
    """

    mean: Doubles
    scale: Doubles
    function: Linear | Pairwise
    classes: list[str]
    model: str
    dimension: int
    sigmoids: Doubles | None
    digest: str

    def classify(self, features: Floats) -> tuple[npt.NDArray[np.str_], Doubles]:
        """Classifies feature vectors.

        Args:
            features: float32 [N, D].

        Returns:
            Labels, str [N], and the scores of those labels, float64 [N].
        """
        return best(self.scores(features), self.classes)

    def scores(self, features: Floats) -> Doubles:
        """Scores each class: the decision function's value, larger is surer, or a probability.

        Args:
            features: float32 [N, D], all finite.

        Returns:
            float64 [N, K], in the order of the classes.
        """
        if len(features) == 0:
            return np.empty((0, len(self.classes)))
        scores = self.function.scores(self._scaled(features))
        return scores if self.sigmoids is None else probabilities(scores, self.sigmoids)

    def _scaled(self, features: Floats) -> Doubles:
        """The features as scikit-learn's scaler leaves them: rounded to float32 after each step."""
        rows = features.astype(np.float64) - self.mean
        rows = _single(rows) / self.scale
        return _single(rows)

    def check(self, model: str, dimension: int | None, where: Path) -> None:
        """Refuses features of another model.

        Raises:
            ModelError: the SVM was fitted on another model's features.
        """
        if (self.model, self.dimension) != (model, dimension):
            raise ModelError(
                f"{where} was fitted on {self.dimension} features of the model "
                f"{self.model[:12]}, and this model is {model[:12]} with {dimension or 'no'} "
                "features; fit a new SVM with 'boatinfer svm fit'."
            )


def best(
    scores: npt.NDArray[Score], classes: Sequence[str]
) -> tuple[npt.NDArray[np.str_], npt.NDArray[Score]]:
    """Labels [N] and scores [N] of the classes with the highest of the scores [N, K]."""
    highest = scores.argmax(axis=1)
    return np.array(classes, np.str_)[highest], scores[np.arange(len(highest)), highest]


def _single(values: Doubles) -> Doubles:
    """Rounds to what float32 can hold."""
    return values.clip(-_SINGLE, _SINGLE).astype(np.float32).astype(np.float64)


def packed(
    pipeline: Any, classes: list[str], model: str, dimension: int, sigmoids: Doubles | None = None
) -> bytes:
    """The content of an SVM's file.

    Args:
        pipeline: a fitted scikit-learn pipeline of a scaler and an SVM, whose classes are numbers.
        classes: their names, sorted.
        model: SHA-256 of the ONNX file that the features come from, hex.
        dimension: D, the length of a feature vector.
        sigmoids: float64 [2, K], as of `SVM`.
    """
    import joblib
    import sklearn

    document = {
        "format": FORMAT,
        "pipeline": pipeline,
        "classes": classes,
        "model": model,
        "dimension": dimension,
        "sigmoids": sigmoids,
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
    }
    pickled = io.BytesIO()
    joblib.dump(document, pickled)
    return seal(pickled.getvalue(), PICKLE)


def save(path: Path, content: bytes, pipeline: Any, samples: Floats) -> SVM:
    """Writes an SVM's file, whole or not at all, once it is known to score as scikit-learn does.

    Args:
        path: the file.
        content: of `packed`.
        pipeline: the fitted pipeline that it holds.
        samples: float32 [N, D], feature vectors to compare scores on.

    Returns:
        What `load` will give.

    Raises:
        ModelError: the scores differ.
        OutputError: the file could not be written.
    """
    svm = read(content, path)
    expected = np.asarray(pipeline.decision_function(samples), np.float64)
    found = svm.function.scores(svm._scaled(samples))
    found = found[:, 1] if expected.ndim == 1 else found
    # A pairwise decision near zero may fall either way and move two scores by 1.
    difference = float(np.median(np.abs(found - expected)))
    if not difference <= _TOLERANCE * np.abs(expected).max(initial=1):
        raise ModelError(
            f"{path} would score otherwise than this scikit-learn does (by {difference:.2g}), so "
            "no file was written; use another version of scikit-learn, and report it."
        )
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return svm


def load(path: Path) -> SVM:
    """Reads an SVM's file; nothing in it is executed.

    Raises:
        ModelError: the file is missing, is no SVM of ours, was damaged, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the SVM {path} cannot be read: {error.strerror}; check its name."
        ) from error
    return read(content, path)


def read(content: bytes, path: Path) -> SVM:
    """Reads the content of an SVM's file; as `load`."""
    digest = sealed_digest(content, path, PICKLE)
    if not is_sealed(content, PICKLE):
        raise ModelError(
            f"{path} is not an SVM file of this boatinfer, or is cut off: it has no seal; make one "
            "with 'boatinfer svm fit'."
        )
    try:
        return _checked(pickles.read(content, {_PIPELINE, _SCALER, _SVC, _LINEAR}), digest)
    except RefusedError as error:
        raise ModelError(
            f"{path} is not an SVM file of this boatinfer, and is refused: {error}; make one with "
            "'boatinfer svm fit'."
        ) from error


def load_for(model: ModelInfo, path: Path | None) -> SVM | None:
    """Reads the SVM that is to label what a model makes; None if there is none.

    Raises:
        UsageError: the model has one inside.
        ModelError: it cannot be read, or is of features of another model.
    """
    if path is None:
        return None
    if model.card.svm is not None:
        raise UsageError(f"{model.path} has an SVM inside already; leave --svm out.")
    svm = load(path)
    features = model.card.features
    svm.check(model.digest, None if features is None else features.dimension, path)
    return svm


def _checked(document: Any, digest: str) -> SVM:
    """Takes what the scores need, and refuses all that does not fit together."""
    if type(document) is not dict or set(document) != _KEYS:
        raise RefusedError("its keys are not those of an SVM file")
    if _one(document, "format", int) != FORMAT:
        raise RefusedError("it has another format")
    classes = _class_names(document)
    dimension = _one(document, "dimension", int)
    scaler, classifier = _steps(document["pipeline"])
    state = _state(scaler, _SCALER)
    scale = _numbers(state, "scale_", dimension)
    if not (scale >= 1 / _LARGEST).all():
        raise RefusedError("its scales are not positive")
    sigmoids = document["sigmoids"]
    return SVM(
        mean=_single(_numbers(state, "mean_", dimension)),
        scale=_single(scale),
        function=_function(classifier, len(classes), dimension),
        classes=classes,
        model=_text(document["model"]),
        dimension=dimension,
        sigmoids=None if sigmoids is None else _numbers(document, "sigmoids", 2, len(classes)),
        digest=digest,
    )


def _class_names(document: Mapping[str, Any]) -> list[str]:
    names = [_text(name) for name in _one(document, "classes", list)]
    if len(names) < 2 or names != sorted(set(names)):
        raise RefusedError("its class names are not two or more, in order")
    return names


def _steps(pipeline: Any) -> list[Any]:
    steps = [_exactly(step, tuple) for step in _one(_state(pipeline), "steps", list)]
    if [len(step) for step in steps] != [2, 2]:
        raise RefusedError("its pipeline has not two steps")
    return [step[1] for step in steps]


def _function(classifier: Any, count: int, dimension: int) -> Linear | Pairwise:
    kind = getattr(classifier, "kind", None)
    state = _state(classifier, _SVC if kind == _SVC else _LINEAR)
    if _numbers(state, "classes_", count).tolist() != list(range(count)):
        raise RefusedError("its classes are not numbered")
    if kind == _LINEAR:
        own = 1 if count == 2 else count
        weights = _numbers(state, "coef_", own, dimension)
        offsets = _numbers(state, "intercept_", own)
        if own == 1:  # of the second class; the first is its mirror image
            weights, offsets = np.concatenate([-weights, weights]), np.append(-offsets, offsets)
        return Linear(weights, offsets)
    vectors = _numbers(state, "support_vectors_", None, dimension)
    counts = _numbers(state, "_n_support", count).astype(np.int64)
    if (counts < 0).any() or counts.sum() != len(vectors):
        raise RefusedError("its arrays do not fit together")
    kernel = _one(state, "kernel", str)
    gamma = float(_numbers(state, "_gamma"))
    if kernel not in {"rbf", "linear"} or gamma < 0:
        raise RefusedError(f"its kernel is {kernel[:20]}, gamma {gamma:g}")
    return Pairwise(
        vectors=vectors,
        counts=counts,
        coefficients=_numbers(state, "_dual_coef_", count - 1, len(vectors)),
        intercepts=_numbers(state, "_intercept_", count * (count - 1) // 2),
        gamma=gamma if kernel == "rbf" else None,
    )


def _state(record: Any, kind: str = _PIPELINE) -> Mapping[str, Any]:
    if type(record) is not Record or record.kind != kind:
        raise RefusedError(f"it lacks a {kind}")
    return _exactly(record.state, dict)  # type: ignore[no-any-return]


def _numbers(state: Mapping[str, Any], name: str, *shape: int | None) -> Doubles:
    """An array of finite numbers of a shape, in which None is any length, or one number."""
    value = state.get(name)
    if not isinstance(value, np.ndarray | np.number | float):
        raise RefusedError(f"its {name} is no array of numbers")
    values = np.asarray(value, np.float64)
    fits = values.ndim == len(shape) and all(
        want in {None, length} for want, length in zip(shape, values.shape, strict=True)
    )
    if not fits:
        raise RefusedError("its arrays do not fit together")
    if not (np.abs(values) <= _LARGEST).all():  # NaN neither
        raise RefusedError(f"its {name} holds numbers that are too large, or none")
    return np.asarray(values, order="C")


def _one(state: Mapping[str, Any], name: str, kind: type) -> Any:
    return _exactly(state.get(name), kind)


def _text(value: Any) -> str:
    text: str = _exactly(value, str)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError("it holds text that is none") from None
    return text


def _exactly(value: Any, kind: type) -> Any:
    """Refuses another type; nothing else is asked of a value before that."""
    if type(value) is not kind:
        raise RefusedError(f"it has something else where {kind.__name__} should be")
    return value
