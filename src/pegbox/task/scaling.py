"""Matrix scaling: log-probabilities of words' types put right by what they were for words whose types are known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.task.calibration import Calibration

PULLS = (1.0, 10.0, 100.0, 1000.0)
"""How strongly the matrix is drawn to doing nothing, tried in turn: a pull of 1 counts as half a nat for a step of 1."""
FOLDS = 4


@dataclass(frozen=True)
class Scaling:
    """A linear map of log-probabilities, which then are made to sum to 1 again.

    Settings:
        weights: one row for each type that comes out; empty: as they are.
        offsets: added to each type.
    """

    weights: tuple[tuple[float, ...], ...] = ()
    offsets: tuple[float, ...] = ()

    def apply(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Scaled log-probabilities. Shape: [..., C] to [..., C]."""
        given = scores.astype(np.float64)
        if self.weights:
            given = given @ np.array(self.weights).T + np.array(self.offsets)
        return Calibration().apply(given)

    def fits(self, size: int) -> bool:
        """Whether it is one of so many types, and all its numbers are."""
        numbers = [*itertools.chain(*self.weights), *self.offsets]
        sizes = {len(self.weights), *map(len, self.weights), len(self.offsets)}
        return sizes in ({0}, {size}) and bool(np.isfinite(numbers).all())

    def to_json(self) -> dict[str, Any]:
        """In JSON's own types."""
        return {"weights": [list(row) for row in self.weights], "offsets": list(self.offsets)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Scaling:
        """What `to_json` wrote."""
        weights = tuple(tuple(map(float, row)) for row in content["weights"])
        return cls(weights, tuple(map(float, content["offsets"])))


def fit_scaling(
    scores: NDArray[np.floating], gold: NDArray[np.int64], groups: Sequence[int]
) -> tuple[Scaling, NDArray[np.float64]]:
    """The scaling with the lowest log loss, drawn to doing nothing as strongly as does best on words that were left out.

    Settings:
        groups: which words are left out together: those of a sentence.

    Returns: the scaling, and the words' log-probabilities under scalings that were fitted without them.

    Shape: scores [N, C]; gold [N]; result [N, C].
    Source: Guo et al. 2017 (arXiv 1706.04599), section 4.2; we differ in the pull to the identity instead of to 0.
    """
    places = {group: at for at, group in enumerate(dict.fromkeys(groups))}
    fold = np.array([places[group] % FOLDS for group in groups])
    best: tuple[float, float, NDArray[np.float64]] | None = None
    for pull in PULLS:
        apart = np.zeros(scores.shape)
        for number in range(FOLDS):
            out = fold == number
            if out.any() and not out.all():
                apart[out] = _fitted(scores[~out], gold[~out], pull).apply(scores[out])
            elif out.any():
                apart[out] = Calibration().apply(scores[out])
        loss = -float(apart[np.arange(len(gold)), gold].mean())
        if best is None or loss < best[0]:
            best = loss, pull, apart
    assert best is not None
    return _fitted(scores, gold, best[1]), best[2]


def _fitted(scores: NDArray[np.floating], gold: NDArray[np.int64], pull: float) -> Scaling:
    from scipy.optimize import minimize

    given, size = scores.astype(np.float64), scores.shape[1]
    right = np.eye(size)[gold]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved, offsets = values[: size * size].reshape(size, size), values[size * size :]
        logs = Calibration().apply(given + given @ moved.T + offsets)
        slope = np.exp(logs) - right
        total = -float((logs * right).sum()) + pull / 2 * float((moved**2).sum())
        return total, np.concatenate([(slope.T @ given + pull * moved).ravel(), slope.sum(axis=0)])

    found = minimize(loss, np.zeros(size * (size + 1)), jac=True, method="L-BFGS-B").x
    weights = np.eye(size) + found[: size * size].reshape(size, size)
    return Scaling(tuple(tuple(map(float, row)) for row in weights), tuple(map(float, found[size * size :])))
