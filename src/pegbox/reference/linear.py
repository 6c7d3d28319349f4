"""Logistic regression over any features, as several references use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import DataError

_UNSEEN = 1e-6  # the probability of a label that no training row has: small, yet no logarithm breaks on it
_ITERATIONS = 10_000


@dataclass(frozen=True, eq=False)
class Linear:
    """A fitted logistic regression.

    Settings:
        model: scikit-learn's.
        labels: C, how many labels the task has; the training rows need not show them all.
    """

    model: Any
    labels: int

    def probabilities(self, features: Any) -> NDArray[np.float32]:
        """Probabilities of the task's labels. Shape: [B, features] to [B, C]."""
        found = np.full((features.shape[0], self.labels), _UNSEEN)
        found[:, self.model.classes_] = self.model.predict_proba(features)
        normal: NDArray[np.float32] = (found / found.sum(axis=1, keepdims=True)).astype(np.float32)
        return normal

    @property
    def parameters(self) -> int:
        return int(self.model.coef_.size + self.model.intercept_.size)

    @property
    def nbytes(self) -> int:
        return int(self.model.coef_.nbytes + self.model.intercept_.nbytes)


def fit_linear(features: Any, gold: NDArray[np.int64], labels: int, strength: float) -> Linear:
    """Fits a logistic regression (L2 penalty, multinomial).

    Settings:
        labels: C.
        strength: how weak the penalty is (scikit-learn's C).

    Shape: features [B, features], dense or sparse; gold [B].
    Raises: DataError when the rows have a single label.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(gold)) < 2:
        raise DataError("training rows with a single label", "rows of at least two labels", "add rows with other labels")
    return Linear(LogisticRegression(C=strength, max_iter=_ITERATIONS, tol=1e-3).fit(features, gold), labels)


@dataclass(frozen=True, eq=False)
class Scale:
    """Features brought to mean 0 and spread 1 among the training rows. Shape: mean [H]; spread [H]."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scaled features. Shape: [B, H]."""
        return (features - self.mean) / self.spread
