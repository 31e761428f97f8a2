"""A linear SVM of many images, solved in matrix products over blocks of them.

It minimises what liblinear does, |w|^2 / 2 + C sum max(0, 1 - y f(x))^2 for each class
against the rest (Fan et al., "LIBLINEAR: A Library for Large Linear Classification", 2008), by
L-BFGS, for all classes at once. liblinear itself would copy the features into lists of
numbered values, four times their size in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight

__all__ = ["LinearSVM"]

#: Rows that are worked on at a time.
_BLOCK = 4096


class LinearSVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn classifier.

    Args:
        C: the penalty.
        class_weight: None, or "balanced".
        tol: it ends when a step lowers the loss by a smaller share than this.
        max_iter: steps of L-BFGS, at most.

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
        balance = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        costs = (self.C * balance[codes]).astype(np.float32)
        own = [1] if len(self.classes_) == 2 else range(len(self.classes_))
        shape = (len(own), X.shape[1] + 1)

        def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
            weights = flat.reshape(shape)
            slope = weights.copy()
            slope[:, -1] = 0  # the intercept is free
            total = float((slope**2).sum()) / 2
            single = weights.astype(np.float32)
            for start in range(0, len(X), _BLOCK):
                block, of = X[start : start + _BLOCK], codes[start : start + _BLOCK]
                signs = np.where(of[:, None] == np.array(own), 1, -1).astype(np.float32)
                lack = np.maximum(0, 1 - signs * (block @ single[:, :-1].T + single[:, -1]))
                pull = costs[start : start + _BLOCK, None] * lack
                total += float((pull * lack).sum(dtype=np.float64))
                pull *= -2 * signs
                slope[:, :-1] += pull.T @ block
                slope[:, -1] += pull.sum(axis=0, dtype=np.float64)
            return total, slope.ravel()

        options = {"maxiter": self.max_iter, "maxfun": 2 * self.max_iter, "ftol": self.tol}
        start = np.zeros(shape).ravel()
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        weights = found.x.reshape(shape)
        self.coef_, self.intercept_ = weights[:, :-1].copy(), weights[:, -1].copy()
        self.n_iter_ = int(found.nit)
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
