"""From the record of a comparison to the numbers that tables, reports and recommendations show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pegbox.errors import DataError
from pegbox.evaluate.lines import ClassLine, Line, MeasuredLine, MethodLine, PartLine, Summary
from pegbox.evaluate.measured import measured_lines
from pegbox.evaluate.record import Cell, Comparison
from pegbox.evaluate.slices import classified_slices
from pegbox.evaluate.standing import ZERO_SHOT, Standing, alone, by_method, check_rows, mean_cost
from pegbox.metrics.classification import Scores, score
from pegbox.metrics.intervals import Estimate, Samples, Scored, centred_interval, interval, resampled_accuracy, resampled_scores
from pegbox.metrics.measures import measure

__all__ = [
    "ZERO_SHOT",
    "ClassLine",
    "Line",
    "MeasuredLine",
    "MethodLine",
    "PartLine",
    "Summary",
    "by_method",
    "check",
    "mean_cost",
    "summarise",
]

MEANS = ("macro_precision", "macro_recall", "macro_f1", "mcc", "brier", "log_loss")


def check(comparison: Comparison) -> None:
    """Raises DataError for a comparison of classifications that cannot be summed up."""
    check_rows(comparison)
    rows, classes = comparison.rows, len(comparison.labels)
    for cell in comparison.cells:
        if cell.probabilities.shape != (rows, classes):
            raise DataError(
                f"probabilities of shape {cell.probabilities.shape} from {cell.method!r}, seed {cell.seed}",
                f"({rows}, {classes}): test rows by labels",
                "score every test row against every label",
            )


def summarise(comparison: Comparison, accuracy_resamples: int = 10_000, score_resamples: int = 2_000, seed: int = 0) -> Summary:
    """Everything that the report shows in numbers. The same comparison gives the same summary.

    Raises:
        DataError: no results, no rows, or results that do not fit together.
    """
    resamples = (accuracy_resamples, score_resamples)
    make = measured_lines if comparison.measures else _classified
    lines, standing = make(comparison, resamples, seed)
    return Summary(
        methods=tuple(lines[i] for i in standing.ranking.order),
        winner=standing.winner,
        detectable=standing.detectable(),
        rows=comparison.rows,
        accuracy_resamples=accuracy_resamples,
        score_resamples=score_resamples,
        title=measure(comparison.measures[0]).title if comparison.measures else "accuracy",
        group=str(comparison.settings.get("group") or "group") if comparison.groups else None,
    )


def _classified(comparison: Comparison, resamples: tuple[int, int], seed: int) -> tuple[list[Line], Standing]:
    """The lines of a classification, in the order of the methods."""
    check(comparison)
    cells = by_method(comparison)
    scored = [Scored(np.stack([c.probabilities for c in own]), tuple(c.seed for c in own)) for own in cells.values()]
    runs = [
        replace(one.runs(comparison.gold), quick=not own[0].spends) for own, one in zip(cells.values(), scored, strict=True)
    ]
    accuracy = resampled_accuracy(runs, resamples[0], seed)
    standing = Standing(list(cells), runs, accuracy)
    others = resampled_scores(comparison.gold, scored, resamples[1], seed)
    points = [[score(comparison.gold, cell.probabilities) for cell in own] for own in cells.values()]
    slices = classified_slices(comparison.gold, comparison.groups, scored, resamples[1], seed)
    lines: list[Line] = [
        _line(
            comparison.labels, own, points[i], accuracy[:, i], {key: s[:, i] for key, s in others.items()},
            standing.of(i) | {"slices": slices[i]},
        )
        for i, own in enumerate(cells.values())
    ]  # fmt: skip
    return lines, standing


def _line(
    labels: tuple[str, ...],
    cells: list[Cell],
    points: list[Scores],
    accuracy: Samples,
    others: dict[str, Samples],
    against: dict[str, Any],
) -> MethodLine:
    """One method's numbers. Shape: accuracy [R]; others [R] or [R, C]."""
    values = {name: float(np.mean([getattr(point, name) for point in points])) for name in ("accuracy", "ece", *MEANS)}
    means: dict[str, Any] = {name: interval(values[name], others[name]) for name in MEANS}
    return MethodLine(
        **alone(cells, [point.accuracy for point in points]),
        **against,
        **means,
        accuracy=interval(values["accuracy"], accuracy),
        ece=centred_interval(values["ece"], others["ece"]),
        classes=tuple(_class_line(label, c, points, others) for c, label in enumerate(labels)),
        confusion=np.mean([point.confusion for point in points], axis=0),
    )


def _class_line(label: str, c: int, points: list[Scores], others: dict[str, Samples]) -> ClassLine:
    def estimate(name: str) -> Estimate:
        return interval(float(np.mean([getattr(point.classes[c], name) for point in points])), others[name][:, c])

    return ClassLine(label, points[0].classes[c].support, estimate("precision"), estimate("recall"), estimate("f1"))
