"""Scores of sets of labels: how well the labels given to each text are those that it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pegbox.metrics.measures import Measure, Values, add, f1, precision, ratio, recall, share

FEWEST = 5
"""Dev rows that must have a label for it to get a threshold of its own."""

Sets = NDArray[np.bool_]
"""Which rows have which labels. Shape: [N, C]."""


def label_counts(predicted: Sets, gold: Sets) -> NDArray[np.float64]:
    """Right, predicted and gold for each row and label. Shape: [N, C, 3]."""
    return np.stack([predicted & gold, predicted, gold], axis=-1).astype(np.float64)


def set_statistics(predicted: Sets, gold: Sets) -> dict[str, NDArray[np.float64]]:
    """What each row contributes to every measure of this module. Shape: [N, S] for each."""
    counts = label_counts(predicted, gold)
    together, one = counts.sum(1), np.ones(len(gold))
    return {
        "macro_f1": counts.reshape(len(gold), -1),
        "micro_f1": together,
        "micro_precision": together,
        "micro_recall": together,
        "exact_sets": np.stack([(predicted == gold).all(1), one], axis=1).astype(np.float64),
        "hamming_loss": np.stack([(predicted != gold).sum(1), gold.shape[1] * one], axis=1).astype(np.float64),
    }


def macro_f1(sums: Values) -> Values:
    """Mean F1 of the labels that some row has or was given.

    Shape: right, predicted and gold of each label [..., 3C] to [...].
    """
    each = sums.reshape(*sums.shape[:-1], -1, 3)
    seen = each[..., 1] + each[..., 2] > 0
    return ratio((f1(each) * seen).sum(-1), seen.sum(-1))


def thresholds(scores: NDArray[np.floating], gold: Sets) -> NDArray[np.float64]:
    """The score from which on each label is given: the one with the best F1 on these rows.

    A label that fewer than FEWEST of the rows have gets the one threshold that is best for all labels together (micro-F1): so
    few rows would only fit chance. Between equals the one nearest to that is taken.

    Shape: scores [N, C]; gold [N, C]; result [C].
    """
    common = _best(scores.ravel().astype(np.float64), gold.ravel(), 0.5)
    return np.array(
        [
            _best(column.astype(np.float64), own, common) if own.sum() >= FEWEST else common
            for column, own in zip(scores.T, gold.T, strict=True)
        ]
    )


def _best(scores: Values, gold: NDArray[np.bool_], near: float) -> float:
    """The threshold with the best F1, halfway between two scores. Shape: [N]; [N]."""
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(gold[order])
    values = ratio(2 * right, np.arange(1, len(ranked) + 1) + gold.sum())
    ends = np.append(ranked[:-1] > ranked[1:], True)  # a threshold cannot part equal scores
    places = np.flatnonzero(ends & (values >= values[ends].max() - 1e-12))
    below = np.append(ranked[1:], 0.0)
    cuts = (ranked[places] + below[places]) / 2
    return float(cuts[np.abs(cuts - near).argmin()])


def as_sets(answers: Sequence[Sequence[str]], labels: Sequence[str]) -> Sets:
    """Lists of labels as a table. Shape: [N, C]."""
    number = {label: at for at, label in enumerate(labels)}
    found = np.zeros((len(answers), len(labels)), dtype=np.bool_)
    for at, own in enumerate(answers):
        found[at, [number[label] for label in own]] = True
    return found


add(
    Measure("macro_f1", "macro F1", macro_f1),
    Measure("micro_f1", "micro F1", f1),
    Measure("micro_precision", "micro precision", precision),
    Measure("micro_recall", "micro recall", recall),
    Measure("exact_sets", "exact sets", share),
    Measure("hamming_loss", "Hamming loss", share, higher=False),
    Measure("label_f1", "F1", f1),
    Measure("label_precision", "precision", precision),
    Measure("label_recall", "recall", recall),
)
