"""A support vector machine on the features of a results folder, saved with joblib.

The file is one dict: the scikit-learn pipeline, its classes, the model and dimension that
its features come from, the sigmoids that make probabilities of its scores, and the versions.
A joblib file is a pickle, and a pickle can run code; here it is loaded through an allow-list
of exactly the classes that `save` writes. It ends in a seal (`boatinfer.models.seal`), which joblib
itself does not look at.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from boatinfer.errors import ModelError, UsageError
from boatinfer.models.network import Floats
from boatinfer.models.seal import PICKLE, is_sealed, seal, sealed_digest
from boatinfer.options import Kernel
from boatinfer.storage.files import replacing

if TYPE_CHECKING:
    from boatinfer.models.model import ModelInfo

__all__ = ["SVM", "best", "load", "load_for", "save"]

Score = TypeVar("Score", bound=np.generic)

FORMAT = 2
_KEYS = {"format", "pipeline", "classes", "model", "dimension", "sigmoids", "versions"}
_ALLOWED = {
    ("sklearn.pipeline", "Pipeline"),
    ("sklearn.preprocessing._data", "StandardScaler"),
    ("sklearn.svm._classes", "SVC"),
    ("boatinfer.svm.linear", "LinearSVM"),
}


@dataclass(frozen=True)
class SVM:
    """A fitted SVM and what its features must come from.

    Attributes:
        pipeline: the scikit-learn pipeline, scaler included.
        classes: class names, sorted.
        model: SHA-256 of the ONNX file that the features come from, hex.
        dimension: D, the length of a feature vector.
        sigmoids: float64 [2, K], slope a and offset b of each class: the probability of a score s
            is 1 / (1 + exp(a s + b)), over the sum of all (Platt, "Probabilistic outputs for
            support vector machines", 1999). None where scores are no probabilities.
        digest: SHA-256 of the file that it was loaded from, hex; empty if from none.
    """

    pipeline: Any
    classes: list[str]
    model: str
    dimension: int
    sigmoids: npt.NDArray[np.float64] | None = None
    digest: str = ""

    @property
    def kernel(self) -> Kernel:
        """The kernel's name."""
        return self.pipeline.steps[-1][1].kernel  # type: ignore[no-any-return]

    def classify(self, features: Floats) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.float64]]:
        """Classifies feature vectors.

        Args:
            features: float32 [N, D].

        Returns:
            Labels, str [N], and the scores of those labels, float64 [N].
        """
        return best(self.scores(features), self.classes)

    def scores(self, features: Floats) -> npt.NDArray[np.float64]:
        """Scores each class: the decision function's value, larger is surer, or a probability.

        Args:
            features: float32 [N, D].

        Returns:
            float64 [N, K], in the order of the classes.
        """
        if len(features) == 0:
            return np.empty((0, len(self.classes)))
        # The pipeline's classes are numbers, and its labels are not asked for.
        scores = np.asarray(self.pipeline.decision_function(features), np.float64)
        if scores.ndim == 1:  # two classes
            scores = np.stack([-scores, scores], axis=1)
        if self.sigmoids is None:
            return scores
        from scipy.special import expit

        slopes, offsets = self.sigmoids
        single = expit(-(slopes * scores + offsets))
        return np.asarray(single / single.sum(axis=1, keepdims=True))

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


def save(svm: SVM, path: Path) -> None:
    """Writes an SVM with joblib, whole or not at all.

    Raises:
        OutputError: the file could not be written.
    """
    import joblib
    import sklearn

    document = {
        "format": FORMAT,
        "pipeline": svm.pipeline,
        "classes": svm.classes,
        "model": svm.model,
        "dimension": svm.dimension,
        "sigmoids": svm.sigmoids,
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
    }
    pickled = io.BytesIO()
    joblib.dump(document, pickled)
    with replacing(path) as temporary:
        temporary.write_bytes(seal(pickled.getvalue(), PICKLE))


def load(path: Path) -> SVM:
    """Loads an SVM through the allow-list; nothing else in the file is executed.

    Raises:
        ModelError: the file is missing, is no SVM of ours, was damaged, was written by
            another scikit-learn version, or names a class that is not on the list.
    """
    from sklearn.exceptions import InconsistentVersionWarning

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the SVM {path} cannot be read: {error.strerror}; check its name."
        ) from error
    digest = sealed_digest(content, path, PICKLE)
    if not is_sealed(content, PICKLE):
        raise ModelError(
            f"{path} is not an SVM file of this boatinfer, or is cut off: it has no seal; make one "
            "with 'boatinfer svm fit'."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            svm = _checked(_restricted(path, io.BytesIO(content)).load())
            return replace(svm, digest=digest)
    except InconsistentVersionWarning as error:
        raise ModelError(
            f"{path} was written by scikit-learn {error.original_sklearn_version}, and this is "
            f"{error.current_sklearn_version}; fit it again with 'boatinfer svm fit'."
        ) from error
    except _Refused as error:
        raise ModelError(f"{path} is refused: {error}.") from error
    except Exception as error:  # a damaged pickle raises whatever it stumbles over
        raise ModelError(
            f"{path} is not an SVM file of this boatinfer; make one with 'boatinfer svm fit'."
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


def _checked(document: dict[str, Any]) -> SVM:
    """Refuses an SVM whose arrays do not fit together: compiled code would trust them."""
    if set(document) != _KEYS or document["format"] != FORMAT:
        raise _Refused("its keys are not those of an SVM file")
    keys = ("pipeline", "classes", "model", "dimension", "sigmoids")
    svm = SVM(*(document[key] for key in keys))
    scaler, classifier = (step for _, step in svm.pipeline.steps)
    count = len(svm.classes)
    fits = (
        (_fits_svc if hasattr(classifier, "support_") else _fits_linear)(classifier, svm)
        and scaler.mean_.shape == scaler.scale_.shape == (svm.dimension,)
        and classifier.classes_.tolist() == list(range(count))
        and all(isinstance(name, str) for name in svm.classes)
        and svm.classes == sorted(svm.classes)
        and (svm.sigmoids is None or svm.sigmoids.shape == (2, count))
        and isinstance(svm.model, str)
    )
    if not fits:
        raise _Refused("its arrays do not fit together")
    svm.classify(np.zeros((1, svm.dimension), np.float32))
    return svm


def _fits_svc(svc: Any, svm: SVM) -> bool:
    count, vectors = len(svm.classes), len(svc.support_)
    shapes = {
        "support_": (vectors,),
        "support_vectors_": (vectors, svm.dimension),
        "_n_support": (count,),
        "_dual_coef_": (count - 1, vectors),
        "_intercept_": (count * (count - 1) // 2,),
        "_probA": (0,),
        "_probB": (0,),
    }
    return (
        all(getattr(svc, name).shape == shape for name, shape in shapes.items())
        and bool((svc._n_support >= 0).all())
        and svc._n_support.sum() == vectors
        and svc.kernel in {"rbf", "linear"}
    )


def _fits_linear(linear: Any, svm: SVM) -> bool:
    count = 1 if len(svm.classes) == 2 else len(svm.classes)
    return bool(
        linear.coef_.shape == (count, svm.dimension) and linear.intercept_.shape == (count,)
    )


class _Refused(pickle.UnpicklingError):
    """The file holds something that `save` never writes."""


def _restricted(path: Path, file: BinaryIO) -> Any:
    """An unpickler that knows the allowed classes, and arrays of plain numbers and text."""
    from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

    def plain_dtype(name: str, *flags: bool) -> np.dtype[Any]:
        dtype = np.dtype(name, *flags)
        if dtype.kind not in "biufU":
            raise _Refused(f"it holds an array of {dtype}")
        return dtype

    def plain_scalar(dtype: np.dtype[Any], content: bytes) -> Any:
        return np.frombuffer(content, dtype, count=1)[0]

    def is_plain(wrapped: Any) -> bool:
        keys = {"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}
        return (
            type(wrapped) is dict
            and set(wrapped) == keys
            and isinstance(wrapped["dtype"], np.dtype)
            and type(wrapped["shape"]) is tuple
        )

    known = {
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): NumpyArrayWrapper,
        ("numpy", "dtype"): plain_dtype,
        ("numpy", "ndarray"): None,  # only ever named, as what a wrapped array is
        ("numpy._core.multiarray", "scalar"): plain_scalar,
    }

    class Restricted(NumpyUnpickler):  # type: ignore[misc]
        dispatch = NumpyUnpickler.dispatch.copy()

        def find_class(self, module: str, name: str) -> Any:
            if (module, name) in known:
                return known[module, name]
            if (module, name) not in _ALLOWED:
                raise _Refused(f"it wants to load {module}.{name}")
            return super().find_class(module, name)

        def load_build(self) -> None:
            """A dtype's state may only be its own: another could pass bytes off as objects.

            And an array's dtype must be one: for what only looks like one, joblib may load
            a second pickle without asking `find_class`.
            """
            target, state = self.stack[-2:]
            if isinstance(target, np.dtype) and state != target.__reduce__()[2]:
                raise _Refused("it holds a dtype that is not plain")
            if isinstance(target, NumpyArrayWrapper) and not is_plain(state):
                raise _Refused("it holds an array that is not plain")
            super().load_build()

        dispatch[pickle.BUILD[0]] = load_build

    return Restricted(str(path), file, True)
