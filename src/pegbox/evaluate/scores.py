"""The scores of one predictor on rows with right answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pegbox.data.rows import Rows
from pegbox.errors import DataError
from pegbox.evaluate.levels import level_lines
from pegbox.evaluate.lines import PartLine
from pegbox.evaluate.slices import FEW, classified_slices, positions
from pegbox.metrics.classification import Scores, score
from pegbox.metrics.intervals import Estimate, Scored, centred_interval, interval, resampled_accuracy, resampled_scores
from pegbox.metrics.sums import Summed, estimates
from pegbox.task.predictor import Predictor
from pegbox.task.task import Answering, Task


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
        slices: scores of groups of rows, where these were asked for.
        levels: scores of coarser labels, where all labels have levels.
    """

    labels: tuple[str, ...]
    rows: int
    rows_digest: str
    source: str
    scores: Scores
    intervals: dict[str, tuple[float, float]]
    opening: int | None = None
    notes: tuple[str, ...] = ()
    slices: tuple[PartLine, ...] = ()
    levels: tuple[PartLine, ...] = ()

    @property
    def main(self) -> dict[str, Any]:
        """What an artifact keeps of it."""
        return {"accuracy": self.scores.accuracy}

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
            **({"levels": {one.name: _plain(one.scores) for one in self.levels}} if self.levels else {}),
            **_sliced(self.slices),
            "opening": self.opening,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class MeasuredEvaluation:
    """Scores of a task that is seen through measures, with 95 % intervals over resampled rows.

    Settings:
        task: its name.
        rows: how many rows were scored.
        rows_digest: which ones.
        source: where they came from.
        scores: by measure, the main one first.
        parts: scores of each class or type, where the task has some.
        slices: scores of groups of rows, where these were asked for.
        opening: the how-manieth opening of these rows with this prompt it was, where that is counted.
        notes: what is to be said about the scores.
    """

    task: str
    rows: int
    rows_digest: str
    source: str
    scores: dict[str, Estimate]
    parts: tuple[PartLine, ...] = ()
    slices: tuple[PartLine, ...] = ()
    opening: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> dict[str, Any]:
        """What an artifact keeps of it."""
        name = next(iter(self.scores))
        return {"measure": name, "score": self.scores[name].value}

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "task": self.task,
            "rows": self.rows,
            "source": self.source,
            "rows_digest": self.rows_digest,
            **_plain(self.scores),
            "parts": {one.name: _plain(one.scores) for one in self.parts},
            **_sliced(self.slices),
            "opening": self.opening,
            "notes": list(self.notes),
        }


def _plain(scores: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: {"value": one.value, "interval": [one.low, one.high]} for name, one in scores.items()}


def _sliced(slices: Sequence[PartLine]) -> dict[str, Any]:
    """Each group with its number of rows, whether these are few, and its scores; nothing where there are no groups."""
    made = {one.name: {"rows": one.rows, "few": (one.rows or 0) < FEW, **_plain(one.scores)} for one in slices}
    return {"slices": made} if made else {}


def evaluate_task(predictor: Answering, task: Task, rows: Rows, resamples: int = 2000) -> MeasuredEvaluation:
    """Scores a predictor of a task that is seen through measures. Raises DataError for rows without right answers."""
    outputs = predictor.answers(rows)
    statistics = task.statistics(outputs, rows)
    summed = {name: Summed(np.asarray(statistics[name], np.float64)[None], (0,)) for name in task.measures}
    parts = tuple(
        PartLine(part, estimates([{name: Summed(sums[None], (0,)) for name, sums in found.items()}], resamples)[0])
        for part, found in task.breakdown(outputs, rows).items()
    )
    slices = tuple(
        PartLine(group, estimates([{name: one.take(index) for name, one in summed.items()}], resamples)[0], len(index))
        for group, index in positions(rows.groups or ()).items()
    )
    scores = estimates([summed], resamples)[0]
    return MeasuredEvaluation(task.name, len(rows), rows.digest(), rows.source, scores, parts, slices)


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
    slices = classified_slices(gold, rows.groups or (), [scored], resamples, 0)[0]
    levels = level_lines(labels, gold, probabilities, resamples)
    return Evaluation(labels, len(rows), rows.digest(), rows.source, scores, bounds, slices=slices, levels=levels)


def _bounds(found: Estimate) -> tuple[float, float]:
    return found.low, found.high
