"""The scores of one predictor on labelled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pegbox.data.rows import Rows
from pegbox.errors import DataError
from pegbox.metrics.classification import Scores, score
from pegbox.metrics.intervals import Estimate, Scored, centred_interval, interval, resampled_accuracy, resampled_scores
from pegbox.task.predictor import Predictor


@dataclass(frozen=True)
class Evaluation:
    """Scores with 95 % intervals over resampled rows.

    Settings:
        labels: the C labels.
        rows: how many rows were scored.
        rows_digest: which ones.
        source: where they came from.
        scores: the figures.
        intervals: for each figure (low, high).
        opening: the how-manieth opening of these rows with this prompt it was, where that is counted.
        notes: what is to be said about the scores.
    """

    labels: tuple[str, ...]
    rows: int
    rows_digest: str
    source: str
    scores: Scores
    intervals: dict[str, tuple[float, float]]
    opening: int | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        s = self.scores
        classes = {
            label: {"precision": c.precision, "recall": c.recall, "f1": c.f1, "rows": c.support}
            for label, c in zip(self.labels, s.classes, strict=True)
        }
        return {
            "rows": self.rows,
            "source": self.source,
            "rows_digest": self.rows_digest,
            **{name: {"value": getattr(s, name), "interval": list(self.intervals[name])} for name in self.intervals},
            "classes": classes,
            "opening": self.opening,
            "notes": list(self.notes),
        }


def evaluate_predictor(predictor: Predictor, rows: Rows, labels: tuple[str, ...], resamples: int = 2000) -> Evaluation:
    """Scores a predictor. Raises DataError for labels that it does not know."""
    number = {label: at for at, label in enumerate(labels)}
    for row, label in zip(rows.numbers, rows.answers(), strict=True):
        if label not in number:
            raise DataError(
                f"{rows.source}, row {row} has the label {label!r}", f"one of {', '.join(labels)}", "correct or drop the row"
            )
    gold = np.array([number[label] for label in rows.answers()], dtype=np.int64)
    probabilities = predictor.predict_proba(rows)
    scores = score(gold, probabilities)
    scored = Scored(probabilities[None], (0,))
    accuracy = resampled_accuracy([scored.runs(gold)], resamples)[:, 0]
    bounds = {"accuracy": _bounds(interval(scores.accuracy, accuracy))}
    for name, values in resampled_scores(gold, [scored], resamples).items():
        if values.ndim == 2:  # the others are one for each class
            around = centred_interval if name == "ece" else interval
            bounds[name] = _bounds(around(float(getattr(scores, name)), values[:, 0]))
    return Evaluation(labels, len(rows), rows.digest(), rows.source, scores, bounds)


def _bounds(found: Estimate) -> tuple[float, float]:
    return found.low, found.high
