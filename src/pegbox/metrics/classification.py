"""Scores of one run on one set of rows, from gold labels and probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pegbox.errors import DataError
from pegbox.metrics import confusion

BINS = 15
SMALLEST = 1e-12
"""Log loss takes a probability of 0 for this, so that one row cannot make it infinite."""


@dataclass(frozen=True)
class ClassScores:
    """How one class fared: 0 where it was never predicted or never there.

    Settings:
        precision: of the rows answered with it, the share that was right.
        recall: of its rows, the share that was found.
        f1: harmonic mean of the two.
        support: how many rows it has.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Scores:
    """All scores of one run. Macro values average the classes that occur as gold or as prediction.

    Settings:
        accuracy: share of right answers.
        macro_precision: mean precision of the classes.
        macro_recall: mean recall of the classes.
        macro_f1: mean F1 of the classes.
        mcc: Matthews' correlation, 0 for guessing and 1 for perfect.
        ece: expected calibration error, 0 is best.
        brier: Brier score, from 0 (best) to 2.
        log_loss: mean -ln of the right answer's probability.
        classes: scores of each class, in label order.
        confusion: [C, C] counts, gold in rows and predicted in columns.
    """

    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    mcc: float
    ece: float
    brier: float
    log_loss: float
    classes: tuple[ClassScores, ...]
    confusion: NDArray[np.int64]


def checked(gold: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Both as arrays that fit each other.

    Shape:
        gold: [N], indices of classes; probabilities: [N, C].
    Raises:
        DataError: no rows, lengths that differ, an index without a column, values that are no probabilities.
    """
    labels, chances = np.asarray(gold, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    if labels.size == 0:
        raise DataError("no rows to score", "at least one row", "check the split: an empty set has no score, not a score of 0")
    if chances.ndim != 2 or labels.ndim != 1 or len(chances) != len(labels):
        raise DataError(
            f"probabilities of shape {chances.shape} for gold labels of shape {labels.shape}",
            "probabilities [rows, classes] and gold labels [rows]",
            "score every row once, in order",
        )
    if labels.min() < 0 or labels.max() >= chances.shape[1]:
        row = int(np.flatnonzero((labels < 0) | (labels >= chances.shape[1]))[0])
        raise DataError(
            f"gold label {labels[row]} at position {row}, with {chances.shape[1]} classes",
            f"a number from 0 to {chances.shape[1] - 1}",
            "test labels must be among the labels that were tuned on",
        )
    wrong = ~np.isfinite(chances).all(1) | (chances < 0).any(1) | (np.abs(chances.sum(1) - 1) > 0.01)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{int(wrong.sum())} rows whose values are no probabilities, the first at position {row}: {chances[row].tolist()}",
            "finite numbers from 0 that add up to 1",
            "the method diverged or returned logits: look at its trail, or apply a softmax",
        )
    return labels, chances


def confidence_bins(top: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each confidence: equal widths, closed on the right, numbered from 0."""
    return np.clip(np.ceil(top * bins).astype(np.int64) - 1, 0, bins - 1)


def ece(gold: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, averaged over bins by their rows.

    Source:
        Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2: top-label confidence, equal-width bins
        (a, b], M = 15. It is biased upwards where a bin holds few rows (Roelofs et al. 2022).
    """
    labels, chances = checked(gold, probabilities)
    top = chances.max(1)
    gap = top - (chances.argmax(1) == labels)
    return float(np.abs(np.bincount(confidence_bins(top, bins), weights=gap, minlength=bins)).sum() / len(labels))


def brier_rows(labels: NDArray[np.int64], chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row's squared distance from the certain right answer, from 0 to 2. Source: Brier 1950, eq. 2."""
    target = np.eye(chances.shape[1])[labels]
    return np.asarray(((chances - target) ** 2).sum(1))


def log_loss_rows(labels: NDArray[np.int64], chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row's -ln of the right answer's probability, which counts as at least `SMALLEST`."""
    return np.asarray(-np.log(np.maximum(chances[np.arange(len(labels)), labels], SMALLEST)))


def confusion_matrix(gold: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts [C, C], gold in rows and predicted in columns."""
    return np.bincount(gold * classes + predicted, minlength=classes**2).reshape(classes, classes)


def score(gold: ArrayLike, probabilities: ArrayLike) -> Scores:
    """All scores of one run; the answer of a row is its likeliest class, the first of equals.

    Shape:
        gold: [N]; probabilities: [N, C].
    Raises:
        DataError: as `checked` says; never a score for no rows.
    """
    labels, chances = checked(gold, probabilities)
    counts = confusion_matrix(labels, chances.argmax(1), chances.shape[1])
    each = confusion.per_class(counts)
    macro = [float(confusion.macro(values, counts)) for values in each]
    rows = zip(*each, counts.sum(1), strict=True)
    return Scores(
        accuracy=float(confusion.accuracy(counts)),
        macro_precision=macro[0],
        macro_recall=macro[1],
        macro_f1=macro[2],
        mcc=float(confusion.mcc(counts)),
        ece=ece(labels, chances),
        brier=float(brier_rows(labels, chances).mean()),
        log_loss=float(log_loss_rows(labels, chances).mean()),
        classes=tuple(ClassScores(float(p), float(r), float(f), int(n)) for p, r, f, n in rows),
        confusion=counts,
    )
