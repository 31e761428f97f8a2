"""A linear SVM for many images, fitted with matrix products over blocks of images.

It minimises liblinear's loss, |w|^2 / 2 + C sum max(0, 1 - y f(x))^2 for each class against the
rest (Fan et al., "LIBLINEAR: A Library for Large Linear Classification", 2008), by L-BFGS, for all
classes at once. liblinear itself would copy the features into a sparse format of four times their
size in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight

__all__ = ["LinearSVM"]

#: Rows of a block.
_BLOCK = 4096


class LinearSVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn classifier.

    Args:
        C: the penalty.
        class_weight: None, or "balanced".
        tol: relative reduction of the loss below which the fit stops.
        max_iter: maximum number of L-BFGS iterations.

    Attributes:
        classes_: [K].
        coef_: float64 [K, D]; of two classes [1, D].
        intercept_: float64 [K]; of two classes [1].
    """

    kernel = "linear"

    def __init__(
        self,
        C: float = 1.0,  # noqa: N803
        class_weight: str | None = None,
        tol: float = 1e-4,
        max_iter: int = 200,
    ) -> None:
        self.C, self.class_weight, self.tol, self.max_iter = C, class_weight, tol, max_iter

    def fit(self, X: npt.NDArray[Any], y: npt.NDArray[Any]) -> LinearSVM:  # noqa: N803
        """Fits features float32 [N, D] and labels [N]."""
        from scipy.optimize import minimize

        self.classes_, codes = np.unique(y, return_inverse=True)
        class_weights = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        costs = (self.C * class_weights[codes]).astype(np.float32)
        positive = [1] if len(self.classes_) == 2 else range(len(self.classes_))
        shape = (len(positive), X.shape[1] + 1)

        def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
            weights = flat.reshape(shape)
            gradient = weights.copy()
            gradient[:, -1] = 0  # the intercept is not regularised
            total = float((gradient**2).sum()) / 2
            single = weights.astype(np.float32)
            for start in range(0, len(X), _BLOCK):
                block, labels = X[start : start + _BLOCK], codes[start : start + _BLOCK]
                signs = np.where(labels[:, None] == np.array(positive), 1, -1).astype(np.float32)
                margin_errors = np.maximum(
                    0, 1 - signs * (block @ single[:, :-1].T + single[:, -1])
                )
                error_weights = costs[start : start + _BLOCK, None] * margin_errors
                total += float((error_weights * margin_errors).sum(dtype=np.float64))
                error_weights *= -2 * signs
                gradient[:, :-1] += error_weights.T @ block
                gradient[:, -1] += error_weights.sum(axis=0, dtype=np.float64)
            return total, gradient.ravel()

        options = {"maxiter": self.max_iter, "maxfun": 2 * self.max_iter, "ftol": self.tol}
        start = np.zeros(shape).ravel()
        result = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        weights = result.x.reshape(shape)
        self.coef_, self.intercept_ = weights[:, :-1].copy(), weights[:, -1].copy()
        self.n_iter_ = int(result.nit)
        return self

    def decision_function(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:  # noqa: N803
        """Scores [N, K]; of two classes [N], positive for the second."""
        scores = X @ self.coef_.T + self.intercept_
        return np.asarray(scores[:, 0] if len(self.classes_) == 2 else scores)

    def predict(self, X: npt.NDArray[Any]) -> npt.NDArray[Any]:  # noqa: N803
        """Labels [N] of features [N, D]."""
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.asarray(self.classes_[best])
