"""A support vector machine on the features of a results folder, saved with joblib.

The file is a dict: the scikit-learn pipeline, its classes, the model and dimension of its features,
the sigmoids that convert scores to probabilities, and the versions. A joblib file is a pickle, and
a pickle can execute code, or create invalid objects that crash compiled code. So `load` reads it as
data (`boatinfer.models.pickles`), takes the few arrays that the scores need, checks them, and
computes in numpy: neither scikit-learn nor joblib is loaded. The file ends with a seal
(`boatinfer.models.seal`), which joblib ignores.
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

__all__ = ["SVM", "best_class", "load", "load_for_model", "pack", "read", "save"]

Score = TypeVar("Score", bound=np.generic)

FORMAT = 2
_KEYS = {"format", "pipeline", "classes", "model", "dimension", "sigmoids", "versions"}
_PIPELINE, _SCALER = "sklearn.pipeline.Pipeline", "sklearn.preprocessing._data.StandardScaler"
_SVC, _LINEAR = "sklearn.svm._classes.SVC", "boatinfer.svm.linear.LinearSVM"

#: Upper limit of all numbers; its inverse is the lower limit of scales: then no score overflows.
_LARGEST = 1e30
_FLOAT32_MAX = np.finfo(np.float32).max

#: Allowed difference from scikit-learn's scores when a file is written, relative to the largest.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class SVM:
    """A fitted SVM and the model that its features must come from.

    Attributes:
        mean: float64 [D], subtracted from the features.
        scale: float64 [D], by which they are then divided; both are rounded to float32, as in
            scikit-learn's scaler.
        function: computes the scores of scaled features.
        classes: class names, sorted.
        model: SHA-256 of the ONNX file that the features come from, hex.
        dimension: D, the length of a feature vector.
        sigmoids: float64 [2, K], see `boatinfer.models.decision.probabilities`; None if the scores
            are not converted to probabilities.
        digest: SHA-256 of the SVM file, hex.
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
        return best_class(self.scores(features), self.classes)

    def scores(self, features: Floats) -> Doubles:
        """Scores of the classes: values of the decision function, or probabilities.

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
        """The features scaled like scikit-learn does: rounded to float32 after each step."""
        rows = features.astype(np.float64) - self.mean
        rows = _round_to_float32(rows) / self.scale
        return _round_to_float32(rows)

    def check(self, model: str, dimension: int | None, path: Path) -> None:
        """Refuses features of another model.

        Raises:
            ModelError: the SVM was fitted on another model's features.
        """
        if (self.model, self.dimension) != (model, dimension):
            raise ModelError(
                f"{path} was fitted on {self.dimension} features of the model "
                f"{self.model[:12]}, and this model is {model[:12]} with {dimension or 'no'} "
                "features; fit a new SVM with 'boatinfer svm fit'."
            )


def best_class(
    scores: npt.NDArray[Score], classes: Sequence[str]
) -> tuple[npt.NDArray[np.str_], npt.NDArray[Score]]:
    """Labels [N] and scores [N] of the classes with the highest scores, from scores [N, K]."""
    highest = scores.argmax(axis=1)
    return np.array(classes, np.str_)[highest], scores[np.arange(len(highest)), highest]


def _round_to_float32(values: Doubles) -> Doubles:
    """Rounds to float32."""
    return values.clip(-_FLOAT32_MAX, _FLOAT32_MAX).astype(np.float32).astype(np.float64)


def pack(
    pipeline: Any, classes: list[str], model: str, dimension: int, sigmoids: Doubles | None = None
) -> bytes:
    """Encodes an SVM as the content of a file.

    Args:
        pipeline: a fitted scikit-learn pipeline of a scaler and an SVM, whose classes are numbers.
        classes: class names, sorted.
        model: SHA-256 of the ONNX file that the features come from, hex.
        dimension: D, the length of a feature vector.
        sigmoids: float64 [2, K], as for `SVM`.
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
    """Writes an SVM's file, after checking that its scores are those of scikit-learn.

    Args:
        path: the file.
        content: result of `pack`.
        pipeline: the fitted pipeline that it holds.
        samples: float32 [N, D], feature vectors to compare scores on.

    Returns:
        The SVM, as `load` would return it.

    Raises:
        ModelError: the scores differ.
        OutputError: the file could not be written.
    """
    svm = read(content, path)
    expected = np.asarray(pipeline.decision_function(samples), np.float64)
    scores = svm.function.scores(svm._scaled(samples))
    scores = scores[:, 1] if expected.ndim == 1 else scores
    # A pairwise decision near zero may change its sign and move two scores by 1.
    difference = float(np.median(np.abs(scores - expected)))
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
        ModelError: the file is missing, damaged, or not an SVM file of this program.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the SVM {path} cannot be read: {error.strerror}; check its name."
        ) from error
    return read(content, path)


def read(content: bytes, path: Path) -> SVM:
    """Reads the content of an SVM's file; otherwise as `load`."""
    digest = sealed_digest(content, path, PICKLE)
    if not is_sealed(content, PICKLE):
        raise ModelError(
            f"{path} is not an SVM file of this boatinfer, or is cut off: it has no seal; make one "
            "with 'boatinfer svm fit'."
        )
    try:
        return _parse_document(pickles.read(content, {_PIPELINE, _SCALER, _SVC, _LINEAR}), digest)
    except RefusedError as error:
        raise ModelError(
            f"{path} is not an SVM file of this boatinfer, and is refused: {error}; make one with "
            "'boatinfer svm fit'."
        ) from error


def load_for_model(model: ModelInfo, path: Path | None) -> SVM | None:
    """Reads the SVM for the features of a model; None if ``path`` is None.

    Raises:
        UsageError: the model contains an SVM already.
        ModelError: the SVM cannot be read, or was fitted on features of another model.
    """
    if path is None:
        return None
    if model.card.svm is not None:
        raise UsageError(f"{model.path} has an SVM inside already; leave --svm out.")
    svm = load(path)
    features = model.card.features
    svm.check(model.digest, None if features is None else features.dimension, path)
    return svm


def _parse_document(document: Any, digest: str) -> SVM:
    """Builds the SVM from a document; refuses inconsistent data."""
    if type(document) is not dict or set(document) != _KEYS:
        raise RefusedError("its keys are not those of an SVM file")
    if _get(document, "format", int) != FORMAT:
        raise RefusedError("it has another format")
    classes = _class_names(document)
    dimension = _get(document, "dimension", int)
    scaler, classifier = _pipeline_steps(document["pipeline"])
    state = _state(scaler, _SCALER)
    scale = _number_array(state, "scale_", dimension)
    if not (scale >= 1 / _LARGEST).all():
        raise RefusedError("its scales are not positive")
    sigmoids = document["sigmoids"]
    return SVM(
        mean=_round_to_float32(_number_array(state, "mean_", dimension)),
        scale=_round_to_float32(scale),
        function=_decision_function(classifier, len(classes), dimension),
        classes=classes,
        model=_text(document["model"]),
        dimension=dimension,
        sigmoids=None if sigmoids is None else _number_array(document, "sigmoids", 2, len(classes)),
        digest=digest,
    )


def _class_names(document: Mapping[str, Any]) -> list[str]:
    names = [_text(name) for name in _get(document, "classes", list)]
    if len(names) < 2 or names != sorted(set(names)):
        raise RefusedError("its class names are not two or more, in order")
    return names


def _pipeline_steps(pipeline: Any) -> list[Any]:
    steps = [_require_type(step, tuple) for step in _get(_state(pipeline), "steps", list)]
    if [len(step) for step in steps] != [2, 2]:
        raise RefusedError("its pipeline has not two steps")
    return [step[1] for step in steps]


def _decision_function(classifier: Any, count: int, dimension: int) -> Linear | Pairwise:
    kind = getattr(classifier, "kind", None)
    state = _state(classifier, _SVC if kind == _SVC else _LINEAR)
    if _number_array(state, "classes_", count).tolist() != list(range(count)):
        raise RefusedError("its classes are not numbered")
    if kind == _LINEAR:
        rows = 1 if count == 2 else count
        weights = _number_array(state, "coef_", rows, dimension)
        offsets = _number_array(state, "intercept_", rows)
        if rows == 1:  # of the second class; that of the first is its negative
            weights, offsets = np.concatenate([-weights, weights]), np.append(-offsets, offsets)
        return Linear(weights, offsets)
    vectors = _number_array(state, "support_vectors_", None, dimension)
    counts = _number_array(state, "_n_support", count).astype(np.int64)
    if (counts < 0).any() or counts.sum() != len(vectors):
        raise RefusedError("its arrays do not fit together")
    kernel = _get(state, "kernel", str)
    gamma = float(_number_array(state, "_gamma"))
    if kernel not in {"rbf", "linear"} or gamma < 0:
        raise RefusedError(f"its kernel is {kernel[:20]}, gamma {gamma:g}")
    return Pairwise(
        vectors=vectors,
        counts=counts,
        coefficients=_number_array(state, "_dual_coef_", count - 1, len(vectors)),
        intercepts=_number_array(state, "_intercept_", count * (count - 1) // 2),
        gamma=gamma if kernel == "rbf" else None,
    )


def _state(record: Any, kind: str = _PIPELINE) -> Mapping[str, Any]:
    if type(record) is not Record or record.kind != kind:
        raise RefusedError(f"it lacks a {kind}")
    return _require_type(record.state, dict)  # type: ignore[no-any-return]


def _number_array(state: Mapping[str, Any], name: str, *shape: int | None) -> Doubles:
    """An array of finite numbers of a shape, in which None is any length; () for one number."""
    value = state.get(name)
    if not isinstance(value, np.ndarray | np.number | float):
        raise RefusedError(f"its {name} is no array of numbers")
    values = np.asarray(value, np.float64)
    fits = values.ndim == len(shape) and all(
        expected in {None, length} for expected, length in zip(shape, values.shape, strict=True)
    )
    if not fits:
        raise RefusedError("its arrays do not fit together")
    if not (np.abs(values) <= _LARGEST).all():  # also refuses NaN
        raise RefusedError(f"its {name} holds numbers that are too large, or none")
    return np.asarray(values, order="C")


def _get(state: Mapping[str, Any], name: str, kind: type) -> Any:
    return _require_type(state.get(name), kind)


def _text(value: Any) -> str:
    text: str = _require_type(value, str)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RefusedError("it holds text that is not Unicode") from None
    return text


def _require_type(value: Any, kind: type) -> Any:
    """Refuses a value of another type; to be called before any other use of the value."""
    if type(value) is not kind:
        raise RefusedError(f"it has something else where {kind.__name__} should be")
    return value
