"""Precision, recall, F1 and MCC from counts, for many confusion matrices at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]
Values = NDArray[np.float64]


def _ratio(above: Counts, below: Counts) -> Values:
    """above / below, and 0 where below is 0."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=below > 0)


def per_class(counts: Counts) -> tuple[Values, Values, Values]:
    """Precision, recall and F1 of each class; 0 where nothing was predicted or nothing was there.

    Shape:
        counts: [..., C, C], gold in rows and predicted in columns. Each result: [..., C].
    """
    right = np.einsum("...cc->...c", counts)
    gold, predicted = counts.sum(-1), counts.sum(-2)
    return _ratio(right, predicted), _ratio(right, gold), _ratio(2 * right, gold + predicted)


def macro(values: Values, counts: Counts) -> Values:
    """Mean over the classes that occur as gold or as prediction, which is scikit-learn's rule.

    Shape:
        values: [..., C]; counts: [..., C, C]; result: [...].
    """
    seen = (counts.sum(-1) + counts.sum(-2)) > 0
    return _ratio((values * seen).sum(-1), seen.sum(-1).astype(np.float64))


def mcc(counts: Counts) -> Values:
    """Matthews' correlation for any number of classes; 0 where gold or prediction is constant.

    Shape:
        counts: [..., C, C]; result: [...].
    Source:
        Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient", eq. 8.
    """
    counts = np.asarray(counts, dtype=np.float64)
    gold, predicted, total = counts.sum(-1), counts.sum(-2), counts.sum((-1, -2))
    right = np.einsum("...cc->...", counts)
    together = right * total - (gold * predicted).sum(-1)
    alone = (total**2 - (gold**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    return _ratio(together, np.sqrt(alone))


def accuracy(counts: Counts) -> Values:
    """Share on the diagonal. Shape: [..., C, C] to [...]."""
    return _ratio(np.einsum("...cc->...", np.asarray(counts, dtype=np.float64)), counts.sum((-1, -2)))
